package vhostuser

import (
	"errors"
	"fmt"
)

var errNoNet = errors.New("not a network device")

func (c *conn) netSetMTU(m *message) ([]byte, error) {
	d, ok := c.srv.dev.(NetDevice)
	switch v := m.u64(0); {
	case !ok || c.protocol&ProtocolMTU == 0:
		return nil, errNoNet
	case v > 0xffff:
		return nil, fmt.Errorf("MTU %d", v)
	default:
		return nil, d.SetMTU(int(v))
	}
}

func (c *conn) sendRARP(m *message) ([]byte, error) {
	d, ok := c.srv.dev.(NetDevice)
	if !ok || c.protocol&ProtocolRARP == 0 {
		return nil, errNoNet
	}
	d.Announce([6]byte(m.payload[:6]))
	return nil, nil
}
