package vnet

import (
	"encoding/binary"

	"picolab/hostctl/vhostuser"
	"picolab/hostctl/vhostuser/virtq"
)

// Lent is the greatest number of frames that Borrow returns.
const Lent = 64

// lend is what Borrow has given away.
type lend struct {
	work   func(virtq.Queue, bool) error
	back   func(virtq.Queue) error
	ring   *vhostuser.Ring // that is held, or nil
	n      int
	chains [Lent]virtq.Chain
	copies []byte // room for Lent frames
}

// Borrow is Take without a copy where that is safe: frames that are complete lie in the guest's memory, which may change at any
// time but does not go away, until Return of that pair. It must follow soon, and before anything else is done with the pair. The
// memory of other frames is the port's, and good until then as well. There are at most Lent.
func (p *Port) Borrow(pair int, frames []Frame) (int, error) {
	q := &p.pairs[pair]
	r := q.tx.Load()
	if r == nil {
		return 0, ErrDown
	}
	t, l := &q.take, &q.lend
	if l.copies == nil {
		l.copies = make([]byte, Lent*(MaxFrame+copyAlign))
	}
	t.begin(r, frames[:min(len(frames), Lent)], l.copies)
	held, err := r.Hold(l.work)
	switch {
	case held:
		l.ring = r
	case err != nil: // what may have been lent until then does not stay
		t.n, t.bytes = 0, 0
	}
	p.finish(pair)
	if t.n > 0 {
		return t.n, nil
	}
	p.Return(pair)
	if err != nil {
		return 0, ErrDown
	}
	return 0, nil
}

// Return gives the guest its buffers back.
func (p *Port) Return(pair int) {
	l := &p.pairs[pair].lend
	if l.ring != nil {
		_ = l.ring.Release(l.back)
		l.ring = nil
	}
}

func (q *pair) takeBack(queue virtq.Queue) error {
	queue.PushBatch(q.lend.chains[:q.lend.n])
	return nil
}

// lendAll is takeAll where the ring is not held.
func (q *pair) lendAll(queue virtq.Queue, held bool) error {
	t, l := &q.take, &q.lend
	if !held {
		if err := q.takeAll(queue); t.n == 0 {
			return err
		}
		return nil // an error comes again with the next call
	}
	n, err := queue.PopBatch(l.chains[:len(t.frames)])
	l.n = n
	if n == 0 {
		return err
	}
	queue.DisableKick()
	t.touch(l.chains[:n])
	for i := range l.chains[:n] {
		c, f := &l.chains[i], &t.frames[t.n]
		b := c.ReadHead()
		m := len(b) - headerSize
		if m >= etherSize && m <= MaxFrame && t.size == headerSize && c.Readable() == len(b) && binary.LittleEndian.Uint16(b) == 0 {
			f.Header, f.Data = Header{}, b[headerSize:len(b):len(b)]
			t.n++
			t.bytes += uint64(m)
			continue
		}
		t.one(c, f)
	}
	return nil
}
