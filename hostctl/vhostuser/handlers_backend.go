package vhostuser

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrNoChannel means that there is no front-end, or that it takes no requests.
var ErrNoChannel = errors.New("front-end takes no requests")

// backendConfigChange is a request of the back-end: VHOST_USER_BACKEND_CONFIG_CHANGE_MSG.
const backendConfigChange = 2

// setBackendReqFD keeps the channel for requests of ours.
func (c *conn) setBackendReqFD(m *message) ([]byte, error) {
	if len(m.fds) == 0 {
		return nil, errors.New("no descriptor")
	}
	c.closeBackendReq()
	c.reqMu.Lock()
	defer c.reqMu.Unlock()
	c.backendReq = m.takeFD()
	return nil, nil
}

func (c *conn) closeBackendReq() {
	c.reqMu.Lock()
	defer c.reqMu.Unlock()
	if c.backendReq >= 0 {
		_ = unix.Close(c.backendReq)
	}
	c.backendReq = -1
}

// request sends a request without payload, for which no answer is wanted. It does not wait: a front-end that leaves so many
// unread that the channel is full is told nothing more.
func (c *conn) request(id uint32) error {
	b := binary.LittleEndian.AppendUint32(nil, id)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, 0)
	c.reqMu.Lock()
	defer c.reqMu.Unlock()
	if c.backendReq < 0 {
		return ErrNoChannel
	}
	if err := unix.Sendto(c.backendReq, b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil); err != nil {
		return fmt.Errorf("send request %d: %w", id, err)
	}
	return nil
}

// ConfigChanged tells the front-end that the device's Config has changed, and so the guest. It may be called from any
// goroutine. Without a front-end that wants to hear of it, it is ErrNoChannel; the next one asks anyway.
func (s *Server) ConfigChanged() error {
	s.mu.Lock()
	c := s.conn
	s.mu.Unlock()
	if c == nil {
		return ErrNoChannel
	}
	return c.request(backendConfigChange)
}
