package virtq

import (
	"fmt"

	"picolab/hostctl/vhostuser/guestmem"
)

// ring is what queues of both layouts have in common.
type ring struct {
	cfg      Config
	mem      *guestmem.Table
	cursor   guestmem.Cursor
	desc     []byte // descriptor area
	avail    []byte // driver area
	used     []byte // device area
	descs    *descriptors
	heads    *availHeads  // of a split ring
	entries  *usedEntries // of a split ring
	descAddr uint64       // guest-physical address of desc
	called   bool         // whether the driver has ever been called on this ring
	scratch  []byte       // copy of an indirect table that spans regions
	err      error        // set once the driver broke the ring
}

// areas returns the lengths in bytes of the descriptor, driver and device area, and what their addresses must be
// multiples of (virtio 1.2 sections 2.7 and 2.8.10.1).
func (c *Config) areas() (size [3]uint64, align [3]uintptr) {
	n := uint64(c.Size)
	if c.Features&FeaturePacked != 0 {
		return [3]uint64{n * descSize, eventArea, eventArea}, [3]uintptr{16, 4, 4}
	}
	return [3]uint64{n * descSize, availRing + 2*n + eventSize, usedRing + usedEntry*n + eventSize}, [3]uintptr{16, 2, 4}
}

// locate finds the three areas in the current memory and holds on to it.
func (q *ring) locate() (err error) {
	mem := q.cfg.Memory.Acquire()
	size, align := q.cfg.areas()
	area := func(i int, name string, addr uint64) []byte {
		b, e := mem.User(addr, size[i])
		if e == nil && !guestmem.Aligned(b, align[i]) {
			e = fmt.Errorf("address %#x not a multiple of %d: %w", addr, align[i], ErrConfig)
		}
		if e != nil && err == nil {
			err = fmt.Errorf("locate %s: %w", name, e)
		}
		return b
	}
	q.desc = area(0, "descriptor area", q.cfg.Desc)
	q.avail = area(1, "driver area", q.cfg.Avail)
	q.used = area(2, "device area", q.cfg.Used)
	if err != nil {
		mem.Release()
		return err
	}
	q.mem, q.cursor = mem, mem.Cursor()
	q.descAddr, _ = mem.GuestAddr(q.cfg.Desc)
	q.descs = asDescriptors(q.desc, q.cfg.Size)
	if q.cfg.Features&FeaturePacked == 0 {
		q.heads, q.entries = asAvailHeads(q.avail, q.cfg.Size), asUsedEntries(q.used, q.cfg.Size)
	}
	return nil
}

func (q *ring) Size() int { return q.cfg.Size }

func (q *ring) Remap() error {
	if q.mem != nil && q.cfg.Memory.Current(q.mem) {
		return nil
	}
	q.Close()
	return q.locate()
}

func (q *ring) Close() {
	if q.mem != nil {
		q.mem.Release()
	}
	q.mem, q.cursor, q.desc, q.avail, q.used = nil, guestmem.Cursor{}, nil, nil, nil
	q.descs, q.heads, q.entries = nil, nil, nil
}

// broken records the driver's fault; the queue never works again.
func (q *ring) broken(format string, args ...any) error {
	q.err = fmt.Errorf(format+": %w", append(args, ErrBroken)...)
	return q.err
}

// logWritten marks what c's device wrote, while that is logged: at least as much as it says, and as much as went through
// Write.
func (q *ring) logWritten(c *Chain, written int) {
	left := uint64(max(written, c.wrote))
	for _, s := range c.spans {
		n := min(left, uint64(s.len))
		q.cfg.BufferLog.Mark(s.addr, n)
		left -= n
	}
}

// skips reports whether the last one of the chains can stand for all of them (virtio 1.2 sections 2.7.9 and 2.8.8). It says
// nothing of what was written to those before it, so none may have room for that.
func (q *ring) skips(cs []Chain) bool {
	if q.cfg.Features&FeatureInOrder == 0 || len(cs) == 0 {
		return false
	}
	for i := range cs {
		if cs[i].wrote != 0 || cs[i].Writable() != 0 {
			return false
		}
	}
	return true
}

// logUsed marks n bytes at offset off of the device area.
func (q *ring) logUsed(off, n int) {
	q.cfg.RingLog.Mark(q.cfg.RingLogAddr+uint64(off), uint64(n))
}
