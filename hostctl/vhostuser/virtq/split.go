package virtq

import (
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

// more returns how many entries of the avail ring can be popped, at most limit; it looks at shared memory only when it knows
// of none.
func (q *split) more(limit int) (int, error) {
	if q.err != nil {
		return 0, q.err
	}
	if q.next == q.seen {
		idx := guestmem.Load16(q.avail, availIdx)
		if int(idx-q.next) > q.cfg.Size {
			return 0, q.broken("avail index %d is %d ahead of a ring of %d", idx, idx-q.next, q.cfg.Size)
		}
		q.seen = idx
	}
	n := int(q.seen - q.next)
	if n > 0 && q.inflight >= q.cfg.Size { // CVE-2016-5403: buffers resubmitted before they were completed
		return 0, q.broken("more than %d buffers in flight", q.cfg.Size)
	}
	return min(n, limit, q.cfg.Size-q.inflight), nil
}

func (q *split) Pop(c *Chain) (bool, error) {
	n, err := q.more(1)
	if n == 0 {
		return false, err
	}
	return q.popAny(c)
}

func (q *split) PopBatch(c []Chain) (int, error) {
	n, err := q.more(len(c))
	for i := 0; i < n; {
		i += q.popSingles(c[i:n])
		if i == n {
			break
		}
		if ok, err := q.popAny(&c[i]); !ok {
			if i > 0 {
				err = nil // the next call returns it
			}
			return i, err
		}
		i++
	}
	return n, err
}

// popAny takes the next entry, which is there.
func (q *split) popAny(c *Chain) (bool, error) {
	head := q.heads[q.next&q.mask]
	c.reset(head)
	if err := q.walk(c, head); err != nil {
		return false, err
	}
	q.next++
	q.inflight++
	return true, nil
}

// popSingles takes the next entries, which are there, as long as their buffers are one descriptor, as nearly all are, and
// where the last one was. It returns how many it took.
func (q *split) popSingles(cs []Chain) int {
	if q.cfg.BufferLog != nil {
		return 0
	}
	base, mem := q.cursor.Window()
	heads, descs, mask, next := q.heads, q.descs, q.mask, q.next
	for i := range cs {
		c := &cs[i]
		head := heads[(next+uint16(i))&mask]
		d := &descs[head&mask]
		addr, rest := d.addr, d.rest
		off, n := addr-base, rest&0xffff_ffff
		end := off + n
		if rest&((flagNext|flagIndirect)<<32) != 0 || head > mask || off >= end || end > uint64(len(mem)) {
			return q.popped(i)
		}
		if rest&(flagWrite<<32) != 0 {
			c.writable(head, mem[off:end:end])
		} else {
			c.readable(head, mem[off:end:end])
		}
	}
	return q.popped(len(cs))
}

func (q *split) popped(n int) int {
	q.next += uint16(n)
	q.inflight += n
	return n
}

func (q *split) Push(c *Chain, written int) {
	if q.cfg.BufferLog != nil {
		q.logWritten(c, written)
	}
	q.entries[q.staged&q.mask] = uint64(c.id) | uint64(uint32(written))<<32
	q.staged++
	q.inflight--
}

func (q *split) PushBatch(cs []Chain) {
	if q.cfg.BufferLog != nil {
		for i := range cs {
			q.Push(&cs[i], cs[i].wrote)
		}
		return
	}
	if q.skips(cs) {
		q.entries[q.staged&q.mask] = uint64(cs[len(cs)-1].id)
	} else {
		for i := range cs {
			c := &cs[i]
			e, v := &q.entries[(q.staged+uint16(i))&q.mask], uint64(c.id)|uint64(c.wrote)<<32
			if *e != v { // in order, and all of a length, they are the same in every lap: the driver has them in its cache
				*e = v
			}
		}
	}
	q.staged += uint16(len(cs))
	q.inflight -= len(cs)
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
	n, err := q.more(1)
	return n > 0 || err != nil
}

func (q *split) DisableKick() {
	// With EVENT_IDX the driver kicks once for the index asked for last, and is silent from there.
	if q.cfg.Features&FeatureEventIdx == 0 && q.flags == 0 && q.mem != nil {
		q.flags = flagNoNotify
		q.publish()
	}
}
