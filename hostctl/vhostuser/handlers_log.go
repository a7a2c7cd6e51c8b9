package vhostuser

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser/guestmem"
)

// setLogBase maps the bitmap in which the front-end, which is about to migrate the guest, wants to see the pages that are
// written from now on. What is logged is said by FeatureLogAll, for buffers, and in SET_VRING_ADDR, for rings. When the reply
// goes out, nothing marks the old bitmap any more.
func (c *conn) setLogBase(m *message) ([]byte, error) {
	if c.protocol&ProtocolLogShmfd == 0 || len(m.fds) != 1 {
		return nil, fmt.Errorf("%d descriptors, protocol features %#x", len(m.fds), c.protocol)
	}
	l, err := guestmem.OpenLog(m.fds[0], m.u64(0), m.u64(8))
	if err != nil {
		return nil, err
	}
	old := c.log
	c.log = l
	err = c.relog()
	old.Close()
	if err != nil {
		return nil, err
	}
	return u64(0), nil
}

// relog has the running rings log as is asked for now. A ring for which that fails is broken, and so logs nothing.
func (c *conn) relog() error {
	var errs []error
	for _, r := range c.rings {
		errs = append(errs, r.replace())
	}
	return errors.Join(errs...)
}

// setLogFD takes the eventfd by which the front-end wants to hear of marks in the log; no descriptor means none.
func (c *conn) setLogFD(m *message) ([]byte, error) {
	old := c.logFD
	c.logFD = m.takeFD()
	for _, r := range c.rings {
		r.lock()
		r.logFD = c.logFD
		r.mu.Unlock()
	}
	if old >= 0 {
		_ = unix.Close(old)
	}
	return nil, nil
}

// closeLog ends logging, when no ring is left that does it.
func (c *conn) closeLog() {
	c.log.Close()
	if c.logFD >= 0 {
		_ = unix.Close(c.logFD)
	}
	c.log, c.logFD = nil, -1
}
