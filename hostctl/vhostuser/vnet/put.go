package vnet

import (
	"encoding/binary"

	"picolab/hostctl/vhostuser/guestmem"
	"picolab/hostctl/vhostuser/virtq"
)

// put is a call of Put in progress.
type put struct {
	work           func(virtq.Queue) error
	features       uint64
	size           int // of the header
	frames         []Frame
	n              int
	bytes          uint64
	offload, short uint64
	chains         []virtq.Chain // grows to the greatest number of buffers of a frame
	first, last    int           // chains up to first are filled and not pushed, up to last popped and not filled
	header         [headerSize]byte
}

// Put gives frames to the guest on that pair, in order, and returns how many of them it took; the others are dropped and
// counted. It never waits. It does not allocate once it has seen the greatest frames. The guest is told not to kick when it
// adds buffers: whoever has frames finds them.
func (p *Port) Put(pair int, frames []Frame) int {
	q := &p.pairs[pair]
	r := q.rx.Load()
	if r == nil {
		p.count.toDown.Add(uint64(len(frames)))
		return 0
	}
	t := &q.put
	t.features, t.size = r.Features(), sizeOf(r.Features())
	t.frames, t.n, t.bytes, t.offload, t.short = frames, 0, 0, 0, 0
	err := r.Do(t.work)
	t.frames = nil
	c := &p.count
	add(&c.toFrames, uint64(t.n))
	add(&c.toBytes, t.bytes)
	add(&c.toOffload, t.offload)
	add(&c.toShort, t.short)
	lost := uint64(len(frames)-t.n) - t.offload
	if err != nil {
		add(&c.toDown, lost)
	} else {
		add(&c.toFull, lost)
	}
	return t.n
}

func (q *pair) putAll(queue virtq.Queue) (err error) {
	t := &q.put
	t.first, t.last = 0, 0
	queue.DisableKick()
	for i := 0; i < len(t.frames); i++ {
		if i += t.singles(t.frames[i:]); i == len(t.frames) {
			break
		}
		f := &t.frames[i]
		if len(f.Data) > MaxFrame || !f.Header.accepts(t.features) {
			t.offload++
			continue
		}
		var buffers int
		if buffers, err = t.gather(queue, t.size+len(f.Data), len(t.frames)-i); err != nil {
			break
		}
		if buffers > 0 { // if not, a shorter one may fit
			t.fill(f, buffers)
		}
	}
	queue.PushBatch(t.chains[:t.first])
	return err
}

// singles writes the first frames to the buffers that are popped, one each, as long as they fit and nothing is left to do for
// them, as is so for nearly all. It returns how many.
func (t *put) singles(frames []Frame) int {
	chains := t.chains[t.first:t.last]
	if t.size != headerSize {
		return 0
	}
	frames = frames[:min(len(frames), len(chains))]
	bytes := 0
	for i := range frames {
		f, b := &frames[i], chains[i].WriteHead()
		if len(b) < headerSize+len(f.Data) || len(f.Data) > MaxFrame || f.Header.Flags|f.Header.GSOType != 0 {
			return t.filled(i, bytes)
		}
		writePlain(b)
		copyFrame(b[headerSize:], f.Data)
		chains[i].Filled(headerSize + len(f.Data))
		bytes += len(f.Data)
	}
	return t.filled(len(frames), bytes)
}

func (t *put) filled(n, bytes int) int {
	t.n += n
	t.first += n
	t.bytes += uint64(bytes)
	return n
}

// gather returns how many buffers, from the first one on, make n bytes: one, or with MRG_RXBUF as many as it takes. It is 0 if
// there are not enough. Buffers without room for a header go back unused, which a driver has no reason to make. There are
// frames still to come, this one included.
func (t *put) gather(queue virtq.Queue, n, frames int) (buffers int, err error) {
	for room := 0; room < n; {
		if buffers > 0 && t.features&featureMrgRxbuf == 0 {
			return 0, nil
		}
		if t.first+buffers == t.last {
			if got, err := t.refill(queue, frames); got == 0 {
				return 0, err
			}
		}
		more := t.chains[t.first+buffers].Writable()
		switch {
		case buffers == 0 && more < t.size:
			t.first++
			t.short++
			continue
		case more == 0: // those before it are not complete: it cannot go back alone
			return 0, nil
		}
		room += more
		buffers++
	}
	return buffers, nil
}

// refill pushes what is filled, moves what is not to the front, and pops more behind it, about one for each frame.
func (t *put) refill(queue virtq.Queue, frames int) (int, error) {
	queue.PushBatch(t.chains[:t.first])
	kept := t.last - t.first
	for i := range kept { // they cannot be copied: each has memory of its own
		t.chains[i], t.chains[t.first+i] = t.chains[t.first+i], t.chains[i]
	}
	t.first, t.last = 0, kept
	if want := kept + min(batch, frames); want > len(t.chains) {
		t.chains = append(t.chains, make([]virtq.Chain, want-len(t.chains))...)
	}
	n, err := queue.PopBatch(t.chains[kept : kept+min(batch, frames)])
	t.last += n
	return n, err
}

// fill writes f to the next buffers.
func (t *put) fill(f *Frame, buffers int) {
	t.n++
	t.bytes += uint64(len(f.Data))
	c := &t.chains[t.first]
	if b := c.WriteHead(); buffers == 1 && t.size == headerSize && len(b) >= headerSize+len(f.Data) {
		copyFrame(b[headerSize:], f.Data)
		t.writeHeader(b, f)
		c.Wrote(headerSize + len(f.Data))
		t.first++
		return
	}
	f.Header.encode(&t.header, buffers)
	c.Write(t.header[:t.size])
	data := f.Data
	for range buffers {
		data = data[t.chains[t.first].Write(data):]
		t.first++
	}
}

// writeHeader writes the header of a frame that takes one buffer to its beginning.
func (t *put) writeHeader(b []byte, f *Frame) {
	if f.Header == (Header{}) {
		writePlain(b)
		return
	}
	f.Header.encode(&t.header, 1)
	copy(b, t.header[:])
}

// cacheLine is the size in bytes of what caches of different processors pass between them.
const cacheLine = 64

// writePlain writes the header of a frame that takes one buffer and has no offloads. A driver with a pool of buffers, as DPDK has,
// gives back what it got: where no byte of the frame is in the header's cache line, it need not go from one processor to the
// other if it says that already.
func writePlain(b []byte) {
	const plain, one = 0, 1 << 16 // one buffer
	if guestmem.Aligned(b[headerSize:], cacheLine) && binary.LittleEndian.Uint64(b) == plain && binary.LittleEndian.Uint32(b[8:]) == one {
		return
	}
	binary.LittleEndian.PutUint64(b, plain)
	binary.LittleEndian.PutUint32(b[8:], one)
}
