package vhostuser

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser/guestmem"
)

// replyTimeout limits how long a front-end may leave a reply unread.
const replyTimeout = 5 * time.Second

// conn is the state of one connected front-end. Its methods run on one goroutine, except drop and logf.
type conn struct {
	srv   *Server
	codec codec
	mem   *guestmem.Memory
	rings []*Ring

	features uint64 // accepted
	protocol uint64 // accepted
	status   uint64
	inflight inflight
	log      *guestmem.Log // nil before SET_LOG_BASE
	logFD    int

	reqMu      sync.Mutex
	backendReq int // guarded by reqMu

	dropOnce sync.Once
	dropErr  error // written once, before the socket is closed
}

func newConn(s *Server, uc *net.UnixConn) *conn {
	c := &conn{srv: s, codec: codec{conn: uc}, mem: guestmem.New(), backendReq: -1, logFD: -1}
	for i := range min(s.dev.Queues(), maxQueues) {
		c.rings = append(c.rings, newRing(c, i))
	}
	return c
}

// serve handles messages until the connection ends, and releases everything. An orderly end is nil.
func (c *conn) serve() error {
	err := c.loop()
	c.drop(nil)
	for _, r := range c.rings {
		r.close()
	}
	c.closeBackendReq()
	c.closeLog()
	c.inflight.close()
	c.mem.Close()
	c.srv.dev.Disconnected()
	switch {
	case c.dropErr != nil:
		return c.dropErr
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, unix.ECONNRESET):
		return nil
	}
	return err
}

func (c *conn) loop() error {
	for {
		m, err := c.codec.read()
		if err != nil {
			return err
		}
		if err := c.dispatch(m); err != nil {
			return err
		}
	}
}

// drop ends the connection from any goroutine. The first reason counts.
func (c *conn) drop(reason error) {
	c.dropOnce.Do(func() {
		c.dropErr = reason
		_ = c.codec.conn.Close()
	})
}

func (c *conn) logf(format string, args ...any) { c.srv.opt.Logf(format, args...) }

// dispatch handles one message. Where the front-end asked for an acknowledgement, it is told of a failure; where it did
// not, a failure ends the connection.
func (c *conn) dispatch(m *message) error {
	if t := c.srv.opt.Trace; t != nil {
		t("%s flags %#x fds %d payload %x", requestName(m.request), m.flags, len(m.fds), m.payload)
	}
	defer m.closeAnswer()
	var reply []byte
	r, err := lookup(m)
	if err == nil {
		reply, err = r.handle(c, m)
	}
	m.close() // before the answer, which may be what the front-end waits for
	needAck := m.flags&flagNeedReply != 0 && c.protocol&ProtocolReplyAck != 0
	if err != nil {
		err = fmt.Errorf("handle %s: %w", requestName(m.request), err)
		if !needAck || answers(m.request) {
			return err
		}
		c.logf("%v", err)
		reply = u64(1)
	} else if reply == nil && needAck {
		reply = u64(0)
	}
	if reply == nil {
		return nil
	}
	return c.send(m, reply)
}

// answers reports whether the request has a reply of its own, in which a failure cannot be told.
func answers(id uint32) bool {
	switch id {
	case 1, 6, 11, 15, 17, 24, 31, 36, 40:
		return true
	}
	return false
}

func (c *conn) send(m *message, reply []byte) error {
	_ = c.codec.conn.SetWriteDeadline(time.Now().Add(replyTimeout))
	if err := c.codec.reply(m, reply); err != nil {
		return fmt.Errorf("reply to %s: %w", requestName(m.request), err)
	}
	return nil
}
