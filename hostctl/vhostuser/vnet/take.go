package vnet

import "picolab/hostctl/vhostuser/virtq"

// take is a call of Take in progress.
type take struct {
	work         func(virtq.Queue) error
	features     uint64
	frames       []Frame
	n            int
	bytes        uint64
	bad, tooLong uint64
	chain        virtq.Chain
	header       [headerSize]byte
}

// Take fills frames, whose Data it cuts to length after it used all of their capacity for room, with what the guest has sent
// on that pair, and returns how many there are. The guest has its buffers back then. What must not be passed on is dropped
// and counted; at most as many buffers are looked at as the ring has entries, or twice as many as there is room for. It does
// not allocate.
func (p *Port) Take(pair int, frames []Frame) (int, error) {
	q := &p.pairs[pair]
	r := q.tx.Load()
	if r == nil {
		return 0, ErrDown
	}
	t := &q.take
	t.features, t.frames, t.n, t.bytes, t.bad, t.tooLong = r.Features(), frames, 0, 0, 0, 0
	err := r.Do(t.work)
	t.frames = nil
	c := &p.count
	c.fromFrames.Add(uint64(t.n))
	c.fromBytes.Add(t.bytes)
	c.fromBad.Add(t.bad)
	c.fromLong.Add(t.tooLong)
	if err != nil && t.n == 0 {
		return 0, ErrDown
	}
	return t.n, nil
}

func (q *pair) takeAll(queue virtq.Queue) error {
	t := &q.take
	for range min(queue.Size(), 2*len(t.frames)) {
		if t.n == len(t.frames) {
			break
		}
		ok, err := queue.Pop(&t.chain)
		if !ok {
			return err
		}
		t.one(&t.frames[t.n])
		queue.Push(&t.chain, 0)
	}
	return nil
}

// one copies the popped buffer to f, and counts it.
func (t *take) one(f *Frame) {
	size := sizeOf(t.features)
	n := t.chain.Readable() - size
	switch {
	case n < etherSize:
		t.bad++
		return
	case n > MaxFrame || n > cap(f.Data):
		t.tooLong++
		return
	}
	t.chain.Read(t.header[:size])
	f.Header.decode(t.header[:])
	if !f.Header.sanitize(n, t.features) {
		t.bad++
		return
	}
	f.Data = f.Data[:n]
	t.chain.Read(f.Data)
	t.n++
	t.bytes += uint64(n)
}
