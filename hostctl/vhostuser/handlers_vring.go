package vhostuser

import (
	"errors"
	"fmt"
	"math/bits"

	"picolab/hostctl/vhostuser/virtq"
)

// vringLog is the flag of SET_VRING_ADDR that says to log writes to the ring (VHOST_VRING_F_LOG).
const vringLog = 1

var errRunning = errors.New("vring is running")

// idle returns the ring of a vring_state message that may only come while the ring is stopped.
func (c *conn) idle(m *message) (*Ring, error) {
	r, err := c.ring(uint64(m.u32(0)))
	if err == nil && r.running {
		err = errRunning
	}
	return r, err
}

func (c *conn) setVringNum(m *message) ([]byte, error) {
	r, err := c.idle(m)
	if err != nil {
		return nil, err
	}
	n := m.u32(4)
	if n == 0 || n > virtq.MaxSize || bits.OnesCount32(n) != 1 {
		return nil, fmt.Errorf("vring %d: %d entries", r.index, n)
	}
	r.size = n
	return nil, nil
}

func (c *conn) setVringBase(m *message) ([]byte, error) {
	r, err := c.idle(m)
	if err != nil {
		return nil, err
	}
	if m.u32(4) > 0xffff && c.features&virtq.FeaturePacked == 0 {
		return nil, fmt.Errorf("vring %d: base %#x", r.index, m.u32(4))
	}
	r.base, r.haveBase = m.u32(4), true
	return nil, nil
}

// setVringAddr takes the three areas; the order in the message is descriptors, used, avail. The front-end may move a ring
// that runs, or begin and end the logging of writes to it.
func (c *conn) setVringAddr(m *message) ([]byte, error) {
	r, err := c.ring(uint64(m.u32(0)))
	if err != nil {
		return nil, err
	}
	flags := m.u32(4)
	if flags&^vringLog != 0 || flags != 0 && c.protocol&ProtocolLogShmfd == 0 {
		return nil, fmt.Errorf("vring %d: flags %#x", r.index, flags)
	}
	r.desc, r.usedAddr, r.avail, r.haveAddr = m.u64(8), m.u64(16), m.u64(24), true
	r.logged, r.logAddr = flags&vringLog != 0, m.u64(32)
	return nil, r.replace()
}

// getVringBase stops the ring: when the reply goes out, nothing touches it any more.
func (c *conn) getVringBase(m *message) ([]byte, error) {
	r, err := c.ring(uint64(m.u32(0)))
	if err != nil {
		return nil, err
	}
	r.stop()
	r.dropKick()
	r.forget()
	return vringState(r.index, r.base), nil
}

func (c *conn) setVringEnable(m *message) ([]byte, error) {
	r, err := c.ring(uint64(m.u32(0)))
	if err != nil {
		return nil, err
	}
	if m.u32(4) > 1 {
		return nil, fmt.Errorf("vring %d: enable %d", r.index, m.u32(4))
	}
	r.enabled = m.u32(4) == 1
	return nil, r.update()
}

// ringFD returns the ring and the descriptor of a message whose payload names both. The descriptor is the message's until
// takeFD; it is missing if bit 8 says so.
func (c *conn) ringFD(m *message) (*Ring, error) {
	v := m.u64(0)
	r, err := c.ring(v &^ vringNoFD)
	if err != nil {
		return nil, err
	}
	if want := v&vringNoFD == 0; want != (len(m.fds) == 1) {
		return nil, fmt.Errorf("vring %d: %d descriptors", r.index, len(m.fds))
	}
	return r, nil
}

// setVringKick is what starts a ring: the driver may have kicked before, and need not again.
func (c *conn) setVringKick(m *message) ([]byte, error) {
	r, err := c.ringFD(m)
	if err != nil {
		return nil, err
	}
	r.stop()
	r.dropKick()
	r.kick, r.haveKick = m.takeFD(), true
	return nil, r.update()
}

func (c *conn) setVringCall(m *message) ([]byte, error) {
	r, err := c.ringFD(m)
	if err != nil {
		return nil, err
	}
	r.setFD(&r.call, m.takeFD())
	return nil, nil
}

func (c *conn) setVringErr(m *message) ([]byte, error) {
	r, err := c.ringFD(m)
	if err != nil {
		return nil, err
	}
	r.setFD(&r.errfd, m.takeFD())
	return nil, nil
}
