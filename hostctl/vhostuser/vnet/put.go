package vnet

import "picolab/hostctl/vhostuser/virtq"

// put is a call of Put in progress.
type put struct {
	work           func(virtq.Queue) error
	features       uint64
	frames         []Frame
	n              int
	bytes          uint64
	offload, short uint64
	chains         []virtq.Chain // grows to the greatest number of buffers of a frame
	header         [headerSize]byte
}

// Put gives frames to the guest on that pair, in order, and returns how many of them it took; the others are dropped and
// counted. It never waits. It does not allocate once it has seen the greatest frames.
func (p *Port) Put(pair int, frames []Frame) int {
	q := &p.pairs[pair]
	r := q.rx.Load()
	if r == nil {
		p.count.toDown.Add(uint64(len(frames)))
		return 0
	}
	t := &q.put
	t.features, t.frames, t.n, t.bytes, t.offload, t.short = r.Features(), frames, 0, 0, 0, 0
	err := r.Do(t.work)
	t.frames = nil
	c := &p.count
	c.toFrames.Add(uint64(t.n))
	c.toBytes.Add(t.bytes)
	c.toOffload.Add(t.offload)
	c.toShort.Add(t.short)
	lost := uint64(len(frames)-t.n) - t.offload
	if err != nil {
		c.toDown.Add(lost)
	} else {
		c.toFull.Add(lost)
	}
	return t.n
}

func (q *pair) putAll(queue virtq.Queue) error {
	t := &q.put
	for i := range t.frames {
		f := &t.frames[i]
		if len(f.Data) > MaxFrame || !f.Header.accepts(t.features) {
			t.offload++
			continue
		}
		buffers, err := t.gather(queue, sizeOf(t.features)+len(f.Data))
		if err != nil {
			return err
		}
		if buffers == 0 { // for this one; a shorter one may fit
			queue.Abort()
			continue
		}
		t.fill(queue, f, buffers)
	}
	return nil
}

// gather pops buffers for n bytes into t.chains and returns how many they are: one, or with MRG_RXBUF as many as it takes.
// It is 0 if there are not enough.
func (t *put) gather(queue virtq.Queue, n int) (buffers int, err error) {
	for room := 0; room < n; buffers++ {
		if buffers > 0 && t.features&featureMrgRxbuf == 0 {
			return 0, nil
		}
		if buffers == len(t.chains) {
			t.chains = append(t.chains, virtq.Chain{})
		}
		ok, err := t.popRoom(queue, buffers)
		if !ok {
			return 0, err
		}
		room += t.chains[buffers].Writable()
	}
	return buffers, nil
}

// popRoom pops into chain i a buffer that has room. Buffers without, for the first one without room for a header, go back
// unused, which a driver has no reason to make.
func (t *put) popRoom(queue virtq.Queue, i int) (bool, error) {
	need := 1
	if i == 0 {
		need = sizeOf(t.features)
	}
	for range queue.Size() {
		ok, err := queue.Pop(&t.chains[i])
		if !ok || t.chains[i].Writable() >= need {
			return ok, err
		}
		if i > 0 { // those before it are not complete: it cannot go back alone
			return false, nil
		}
		queue.Push(&t.chains[i], 0)
		t.short++
	}
	return false, nil
}

// fill writes f to the buffers and pushes them.
func (t *put) fill(queue virtq.Queue, f *Frame, buffers int) {
	f.Header.encode(&t.header, buffers)
	size := sizeOf(t.features)
	data := f.Data
	for i := range t.chains[:buffers] {
		c, n := &t.chains[i], 0
		if i == 0 {
			n = c.Write(t.header[:size])
		}
		k := c.Write(data)
		data = data[k:]
		queue.Push(c, n+k)
	}
	t.n++
	t.bytes += uint64(len(f.Data))
}
