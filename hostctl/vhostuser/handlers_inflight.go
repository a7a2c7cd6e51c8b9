package vhostuser

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser/guestmem"
	"picolab/hostctl/vhostuser/virtq"
)

// Sizes in bytes of what the inflight region has for a queue: a head, then for each descriptor.
const (
	inflightHead  = 32 // of a packed queue; a split one's is shorter
	inflightDesc  = 32 // likewise
	inflightAlign = 64
)

// inflight is the memory that the front-end keeps for a back-end's successor. Buffers are never in flight for longer than
// Ring.Do, so that all there is to keep is the place of packed rings.
type inflight struct {
	mem  *guestmem.Shared
	size int // bytes of each queue
}

func (f *inflight) close() {
	f.mem.Close()
	*f = inflight{}
}

// place returns where ring number i keeps its place, or nil.
func (f *inflight) place(i int) []byte {
	if f.mem == nil || (i+1)*f.size > len(f.mem.Bytes()) {
		return nil
	}
	return f.mem.Bytes()[i*f.size:][:virtq.PlaceSize]
}

// inflightSize checks the counts of an inflight message and returns the bytes of each queue (CVE-2021-3839).
func (c *conn) inflightSize(m *message) (queues, size int, err error) {
	queues, entries := int(m.u16(16)), int(m.u16(18))
	if c.protocol&ProtocolInflight == 0 {
		return 0, 0, errors.New("inflight region was not negotiated")
	}
	if queues == 0 || queues > len(c.rings) || entries == 0 || entries > virtq.MaxSize {
		return 0, 0, fmt.Errorf("inflight region for %d queues of %d entries", queues, entries)
	}
	for _, r := range c.rings {
		if r.running {
			return 0, 0, errRunning
		}
	}
	return queues, (inflightHead + inflightDesc*entries + inflightAlign - 1) &^ (inflightAlign - 1), nil
}

// getInflightFD makes the region and gives it to the front-end.
func (c *conn) getInflightFD(m *message) ([]byte, error) {
	queues, size, err := c.inflightSize(m)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("inflight", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make inflight region: %w", err)
	}
	m.answer = fd // dispatch closes it
	if err := unix.Ftruncate(fd, int64(queues*size)); err != nil {
		return nil, fmt.Errorf("make inflight region: %w", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW); err != nil {
		return nil, fmt.Errorf("seal inflight region: %w", err)
	}
	mem, err := guestmem.Map(fd, uint64(queues*size), 0)
	if err != nil {
		return nil, err
	}
	c.inflight.close()
	c.inflight = inflight{mem, size}
	reply := make([]byte, len(m.payload))
	binary.LittleEndian.PutUint64(reply, uint64(queues*size))
	copy(reply[16:], m.payload[16:20])
	return reply, nil
}

// setInflightFD takes the region of a predecessor.
func (c *conn) setInflightFD(m *message) ([]byte, error) {
	queues, size, err := c.inflightSize(m)
	if err != nil {
		return nil, err
	}
	if len(m.fds) != 1 || m.u64(0) < uint64(queues*size) {
		return nil, fmt.Errorf("inflight region of %d bytes, %d descriptors", m.u64(0), len(m.fds))
	}
	mem, err := guestmem.Map(m.fds[0], uint64(queues*size), m.u64(8))
	if err != nil {
		return nil, err
	}
	c.inflight.close()
	c.inflight = inflight{mem, size}
	return nil, nil
}
