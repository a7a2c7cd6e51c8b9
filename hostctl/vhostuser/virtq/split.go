package virtq

import (
	"encoding/binary"
	"fmt"

	"picolab/hostctl/vhostuser/guestmem"
)

// Layout of a split ring (virtio 1.2 section 2.7): sizes and offsets in bytes.
const (
	descSize      = 16
	availIdx      = 2 // u16; the u16 flags are at 0
	availRing     = 4 // u16 each
	usedRing      = 4 // id u32, length u32 each; the u16 flags are at 0, the u16 index at 2
	usedEntry     = 8
	eventSize     = 2 // used_event ends the avail ring, avail_event the used ring
	flagNoNotify  = 1 // VIRTQ_USED_F_NO_NOTIFY
	flagNoCall    = 1 // VIRTQ_AVAIL_F_NO_INTERRUPT
	flagNext      = 1 // descriptor flags
	flagWrite     = 2
	flagIndirect  = 4
	descKnownFlag = flagNext | flagWrite | flagIndirect
)

// split is a queue with a split ring. Indices run modulo 2^16.
type split struct {
	cfg   Config
	mask  uint16
	mem   *guestmem.Table
	desc  []byte
	avail []byte
	used  []byte

	next     uint16 // next entry of the avail ring to pop
	seen     uint16 // avail index as read last: entries before it may be read
	inflight int    // popped and not pushed
	staged   uint16 // used index including what is not flushed
	flushed  uint16 // used index as published
	flags    uint16 // used ring flags as published
	called   bool   // whether the driver has ever been called on this ring
	scratch  []byte // copy of an indirect table that spans regions
	err      error  // set once the driver broke the ring
}

func newSplit(cfg Config) (*split, error) {
	q := &split{cfg: cfg, mask: uint16(cfg.Size - 1), next: uint16(cfg.Base), seen: uint16(cfg.Base)}
	if err := q.locate(); err != nil {
		return nil, err
	}
	// The index in memory is right only now, not when SET_VRING_ADDR came: firmware may have used the ring since.
	q.flushed = guestmem.Load16(q.used, 2)
	q.staged = q.flushed
	q.publish()
	return q, nil
}

// locate finds the three areas in the current memory and holds on to it.
func (q *split) locate() (err error) {
	n := uint64(q.cfg.Size)
	mem := q.cfg.Memory.Acquire()
	area := func(name string, addr, size uint64, align uintptr) []byte {
		b, e := mem.User(addr, size)
		if e == nil && !guestmem.Aligned(b, align) {
			e = fmt.Errorf("address %#x not a multiple of %d: %w", addr, align, ErrConfig)
		}
		if e != nil && err == nil {
			err = fmt.Errorf("locate %s: %w", name, e)
		}
		return b
	}
	q.desc = area("descriptor area", q.cfg.Desc, n*descSize, 16)
	q.avail = area("avail ring", q.cfg.Avail, availRing+2*n+eventSize, 2)
	q.used = area("used ring", q.cfg.Used, usedRing+usedEntry*n+eventSize, 4)
	if err != nil {
		mem.Release()
		return err
	}
	q.mem = mem
	return nil
}

func (q *split) Size() int    { return q.cfg.Size }
func (q *split) Base() uint32 { return uint32(q.next - uint16(q.inflight)) }

func (q *split) Remap() error {
	if q.mem != nil && q.cfg.Memory.Current(q.mem) {
		return nil
	}
	q.Close()
	return q.locate()
}

func (q *split) Close() {
	if q.mem != nil {
		q.mem.Release()
	}
	q.mem, q.desc, q.avail, q.used = nil, nil, nil, nil
}

// broken records the driver's fault; the queue never works again.
func (q *split) broken(format string, args ...any) error {
	q.err = fmt.Errorf(format+": %w", append(args, ErrBroken)...)
	return q.err
}

// more reports whether the avail ring has an entry to pop, looking at shared memory only when it must.
func (q *split) more() (bool, error) {
	if q.err != nil {
		return false, q.err
	}
	if q.next != q.seen {
		return true, nil
	}
	idx := guestmem.Load16(q.avail, availIdx)
	if int(idx-q.next) > q.cfg.Size {
		return false, q.broken("avail index %d is %d ahead of a ring of %d", idx, idx-q.next, q.cfg.Size)
	}
	q.seen = idx
	return idx != q.next, nil
}

func (q *split) Pop(c *Chain) (bool, error) {
	ok, err := q.more()
	if !ok {
		return false, err
	}
	if q.inflight >= q.cfg.Size { // CVE-2016-5403: buffers resubmitted before they were completed
		return false, q.broken("more than %d buffers in flight", q.cfg.Size)
	}
	head := binary.LittleEndian.Uint16(q.avail[availRing+2*int(q.next&q.mask):])
	c.reset(head)
	if err := q.walk(c, head); err != nil {
		return false, err
	}
	q.next++
	q.inflight++
	return true, nil
}

func (q *split) Push(c *Chain, written int) {
	e := q.used[usedRing+usedEntry*int(q.staged&q.mask):]
	binary.LittleEndian.PutUint64(e, uint64(c.id)|uint64(uint32(written))<<32)
	q.staged++
	q.inflight--
}

func (q *split) Flush() bool {
	if q.staged == q.flushed || q.mem == nil {
		return false
	}
	old := q.flushed
	q.flushed = q.staged
	q.publish()
	return q.wantsCall(old)
}

// publish stores the used flags and index, which share a word, and is a full barrier.
func (q *split) publish() {
	guestmem.Store32(q.used, 0, uint32(q.flags)|uint32(q.flushed)<<16)
}

// wantsCall decides whether to call the driver after the used index went from old to what it is now.
func (q *split) wantsCall(old uint16) bool {
	if !q.called { // what the driver wrote before this ring started may be stale
		q.called = true
		return true
	}
	if q.cfg.Features&FeatureEventIdx == 0 {
		return guestmem.Load16(q.avail, 0)&flagNoCall == 0
	}
	event := guestmem.Load16(q.avail, availRing+2*q.cfg.Size)
	return q.flushed-event-1 < q.flushed-old
}

func (q *split) Abort() {
	q.next -= uint16(q.inflight)
	q.inflight = 0
}

func (q *split) EnableKick() bool {
	if q.err != nil || q.mem == nil {
		return false
	}
	// Both stores are full barriers, so an entry added before the driver could see them is seen by more.
	if q.cfg.Features&FeatureEventIdx != 0 {
		guestmem.Store16(q.used, usedRing+usedEntry*q.cfg.Size, q.next)
	} else if q.flags != 0 {
		q.flags = 0
		q.publish()
	}
	ok, err := q.more()
	return ok || err != nil
}

func (q *split) DisableKick() {
	// With EVENT_IDX the driver kicks once for the index asked for last, and is silent from there.
	if q.cfg.Features&FeatureEventIdx == 0 && q.flags == 0 && q.mem != nil {
		q.flags = flagNoNotify
		q.publish()
	}
}
