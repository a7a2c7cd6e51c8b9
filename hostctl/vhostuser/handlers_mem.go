package vhostuser

import (
	"fmt"

	"picolab/hostctl/vhostuser/guestmem"
)

// region decodes the memory region at off of the payload.
func (m *message) region(off int) guestmem.Region {
	return guestmem.Region{GuestAddr: m.u64(off), Size: m.u64(off + 8), UserAddr: m.u64(off + 16), Offset: m.u64(off + 24)}
}

// setMemTable replaces the memory. The mapping does not need the descriptors, which dispatch closes.
func (c *conn) setMemTable(m *message) ([]byte, error) {
	n := m.u32(0)
	if n > maxFDs || int(n) != len(m.fds) || len(m.payload) < 8+int(n)*regionSize {
		return nil, fmt.Errorf("%d regions, %d descriptors, %d bytes", n, len(m.fds), len(m.payload))
	}
	regions := make([]guestmem.Region, n)
	for i := range regions {
		regions[i] = m.region(8 + i*regionSize)
	}
	return nil, c.remap(c.mem.Replace(regions, m.fds))
}

func (c *conn) addMemReg(m *message) ([]byte, error) {
	if len(m.fds) != 1 {
		return nil, fmt.Errorf("%d descriptors", len(m.fds))
	}
	return nil, c.remap(c.mem.Add(m.region(8), m.fds[0]))
}

func (c *conn) remMemReg(m *message) ([]byte, error) { return nil, c.remap(c.mem.Remove(m.region(8))) }

// remap brings the running rings to the new memory, which also frees the old.
func (c *conn) remap(err error) error {
	if err != nil {
		return err
	}
	for _, r := range c.rings {
		r.remap()
	}
	return nil
}

func (c *conn) getMaxMemSlots(*message) ([]byte, error) { return u64(guestmem.MaxRegions), nil }
