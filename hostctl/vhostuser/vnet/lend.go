package vnet

import (
	"encoding/binary"

	"picolab/hostctl/vhostuser"
	"picolab/hostctl/vhostuser/virtq"
)

// Lent is the greatest number of frames that Borrow returns.
const Lent = 64

// room is how much memory a frame takes that Borrow has to copy, in bytes: not a multiple of what the cache's sets repeat by.
const room = 64 * (1024 + 3)

// lend is what Borrow has given away.
type lend struct {
	work, back func(virtq.Queue) error
	ring       *vhostuser.Ring // that is held, or nil
	n          int
	chains     [Lent]virtq.Chain
	room       func(*Frame, int) // place
	memory     []byte
}

// Borrow is Take without a copy where that is safe: frames that are complete lie in the guest's memory, which may change at any
// time but does not go away, until Return of that pair. It must follow soon, and before anything else is done with the pair. The
// memory of other frames is the port's, and good until then as well. There are at most Lent.
func (p *Port) Borrow(pair int, frames []Frame) (int, error) {
	q := &p.pairs[pair]
	frames = frames[:min(len(frames), Lent)]
	r := q.tx.Load()
	if r == nil {
		return 0, ErrDown
	}
	t, l := &q.take, &q.lend
	t.begin(r, frames)
	err := r.Hold(l.work)
	if err == vhostuser.ErrShrinkable {
		for i := range frames {
			l.place(&frames[i], i)
		}
		return p.Take(pair, frames)
	}
	if err != nil {
		return 0, ErrDown
	}
	l.ring = r
	p.finish(pair, frames, l.room)
	if t.n == 0 {
		p.Return(pair)
	}
	return t.n, nil
}

// place gives a frame that is to be copied the i-th room.
func (l *lend) place(f *Frame, i int) {
	if l.memory == nil {
		l.memory = make([]byte, Lent*room)
	}
	f.Data = l.memory[i*room:][:0:room]
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

func (q *pair) lendAll(queue virtq.Queue) error {
	t, l := &q.take, &q.lend
	n, err := queue.PopBatch(l.chains[:len(t.frames)])
	l.n = n
	if n == 0 {
		return err
	}
	queue.DisableKick()
	for i := range l.chains[:n] {
		if b := l.chains[i].ReadHead(); len(b) > 0 {
			t.touched += b[0]
		}
	}
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
		l.place(f, t.n)
		t.one(c, f)
	}
	return nil
}
