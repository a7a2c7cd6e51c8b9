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
	ring
	mask     uint16
	next     uint16 // next entry of the avail ring to pop
	seen     uint16 // avail index as read last: entries before it may be read
	inflight int    // popped and not pushed
	staged   uint16 // used index including what is not flushed
	flushed  uint16 // used index as published
	flags    uint16 // used ring flags as published
}

func newSplit(cfg Config) (*split, error) {
	if cfg.Base > 0xffff {
		return nil, fmt.Errorf("set up ring: base %#x: %w", cfg.Base, ErrConfig)
	}
	q := &split{ring: ring{cfg: cfg}, mask: uint16(cfg.Size - 1), next: uint16(cfg.Base), seen: uint16(cfg.Base)}
	return q, q.locate()
}

// begin takes the used index from memory. It is right only now, not when SET_VRING_ADDR came: firmware may have used the
// ring since.
func (q *split) begin() {
	q.flushed = guestmem.Load16(q.used, 2)
	q.staged = q.flushed
	q.publish()
}

func (q *split) Base() uint32 { return uint32(q.next - uint16(q.inflight)) }

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
	q.logWritten(c, written)
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
	q.logEntries(old)
	return q.wantsCall(old)
}

// publish stores the used flags and index, which share a word, and is a full barrier.
func (q *split) publish() {
	guestmem.Store32(q.used, 0, uint32(q.flags)|uint32(q.flushed)<<16)
	q.logUsed(0, usedRing)
}

// logEntries marks the used entries from index old to the published one.
func (q *split) logEntries(old uint16) {
	if q.cfg.RingLog == nil {
		return
	}
	n := min(int(q.flushed-old), q.cfg.Size)
	first := int(old & q.mask)
	k := min(n, q.cfg.Size-first)
	q.logUsed(usedRing+usedEntry*first, usedEntry*k)
	q.logUsed(usedRing, usedEntry*(n-k))
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
		q.logUsed(usedRing+usedEntry*q.cfg.Size, eventSize)
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
