package vnet

import (
	"encoding/binary"
	"sync/atomic"

	"picolab/hostctl/vhostuser"
	"picolab/hostctl/vhostuser/virtq"
)

// batch is the number of buffers that are taken from a ring at a time: their descriptors share cache lines, and the memory
// they point to is fetched while the one before is worked on.
const batch = 32

// take is a call of Take in progress.
type take struct {
	work         func(virtq.Queue) error
	features     uint64
	size         int // of the header
	frames       []Frame
	copies       []byte // room for the frames, if they bring none
	n            int
	bytes        uint64
	bad, tooLong uint64
	touched      byte
	chains       [batch]virtq.Chain
	header       [headerSize]byte
}

// Take fills frames, whose Data it cuts to length after it used all of their capacity for room, with what the guest has sent
// on that pair, and returns how many there are. The guest has its buffers back then. What must not be passed on is dropped
// and counted; at most as many buffers are looked at as the ring has entries, or twice as many as there is room for. It does
// not allocate. Once there were frames the guest is told not to kick, until Arm.
func (p *Port) Take(pair int, frames []Frame) (int, error) {
	q := &p.pairs[pair]
	r := q.tx.Load()
	if r == nil {
		return 0, ErrDown
	}
	t := &q.take
	t.begin(r, frames, nil)
	err := r.Do(t.work)
	p.finish(pair)
	if err != nil && t.n == 0 {
		return 0, ErrDown
	}
	return t.n, nil
}

// begin prepares a call.
func (t *take) begin(r *vhostuser.Ring, frames []Frame, copies []byte) {
	t.features, t.size = r.Features(), sizeOf(r.Features())
	t.frames, t.copies, t.n, t.bytes, t.bad, t.tooLong = frames, copies, 0, 0, 0, 0
}

// finish speaks for the guest, if it is to, and counts.
func (p *Port) finish(pair int) {
	t := &p.pairs[pair].take
	if pair == 0 && p.announce.Load() != nil && t.n < len(t.frames) && t.room(&t.frames[t.n], rarpSize) {
		t.n += p.speak(&t.frames[t.n])
	}
	t.frames, t.copies = nil, nil
	c := &p.count
	add(&c.fromFrames, uint64(t.n))
	add(&c.fromBytes, t.bytes)
	add(&c.fromBad, t.bad)
	add(&c.fromLong, t.tooLong)
}

// add leaves a counter alone that does not change: an atomic addition costs as much as a short frame.
func add(c *atomic.Uint64, n uint64) {
	if n != 0 {
		c.Add(n)
	}
}

func (q *pair) takeAll(queue virtq.Queue) error {
	t := &q.take
	for left := min(queue.Size(), 2*len(t.frames)); t.n < len(t.frames) && left > 0; {
		n, err := queue.PopBatch(t.chains[:min(batch, len(t.frames)-t.n, left)])
		if n == 0 {
			return err
		}
		queue.DisableKick()
		t.touch(t.chains[:n])
		for i := 0; i < n; i++ {
			if i += t.singles(t.chains[i:n]); i < n {
				t.one(&t.chains[i], &t.frames[t.n])
			}
		}
		queue.PushBatch(t.chains[:n])
		left -= n
	}
	return nil
}

// touch has the processor fetch the beginning of all buffers at a time, instead of one after the other: they come from the
// cache of the guest's.
func (t *take) touch(chains []virtq.Chain) {
	var sum byte
	for i := range chains {
		if b := chains[i].ReadHead(); len(b) > 0 {
			sum += b[0]
		}
	}
	t.touched = sum // or the compiler would not read them
}

// copyAlign is what the places of copies are multiples of, in bytes: frames next to each other share no cache line, and short
// ones, as most are, few pages.
const copyAlign = 64

// room makes f.Data n bytes long, and reports whether there is room for them.
func (t *take) room(f *Frame, n int) bool {
	if t.copies == nil {
		if n > cap(f.Data) {
			return false
		}
		f.Data = f.Data[:n]
		return true
	}
	f.Data = t.copies[:n:n]
	t.copies = t.copies[(n+copyAlign-1)&^(copyAlign-1):]
	return true
}

// singles copies the first buffers, as long as each is one piece with a header that says nothing, as nearly all are, to the next
// frames. It returns how many.
func (t *take) singles(chains []virtq.Chain) int {
	if t.size != headerSize {
		return 0
	}
	frames, bytes := t.frames[t.n:][:len(chains)], 0
	for i := range chains {
		b, f := chains[i].ReadHead(), &frames[i]
		n := len(b) - headerSize
		if n < etherSize || n > MaxFrame || chains[i].Readable() != len(b) || binary.LittleEndian.Uint16(b) != 0 || !t.room(f, n) {
			return t.taken(i, bytes)
		}
		f.Header = Header{}
		copyFrame(f.Data, b[headerSize:])
		bytes += n
	}
	return t.taken(len(chains), bytes)
}

func (t *take) taken(n, bytes int) int {
	t.n += n
	t.bytes += uint64(bytes)
	return n
}

// one copies the popped buffer to f, and counts it.
func (t *take) one(c *virtq.Chain, f *Frame) {
	n := c.Readable() - t.size
	switch {
	case n < etherSize:
		t.bad++
		return
	case n > MaxFrame || t.copies == nil && n > cap(f.Data):
		t.tooLong++
		return
	}
	if b := c.ReadHead(); len(b) == headerSize+n {
		if !t.readHeader(b, f, n) {
			t.bad++
			return
		}
		t.room(f, n)
		copyFrame(f.Data, b[headerSize:])
	} else if !t.pieces(c, f, n) {
		t.bad++
		return
	}
	t.n++
	t.bytes += uint64(n)
}

// readHeader takes the header from the beginning of b, of which each byte is read once.
func (t *take) readHeader(b []byte, f *Frame, n int) bool {
	v := binary.LittleEndian.Uint64(b)
	if v&0xffff == 0 { // no offloads: nothing else matters
		f.Header = Header{}
		return true
	}
	binary.LittleEndian.PutUint64(t.header[:], v)
	copy(t.header[8:], b[8:headerSize])
	f.Header.decode(t.header[:])
	return f.Header.sanitize(n, t.features)
}

// pieces is for a buffer of several, or with a short header.
func (t *take) pieces(c *virtq.Chain, f *Frame, n int) bool {
	c.Read(t.header[:t.size])
	f.Header.decode(t.header[:])
	if !f.Header.sanitize(n, t.features) {
		return false
	}
	t.room(f, n)
	c.Read(f.Data)
	return true
}

// copyFrame is copy for frames, most of which are short: two moves that overlap do for up to 64 bytes, without a call.
func copyFrame(dst, src []byte) {
	if n := len(src); n >= 32 && n <= 64 && len(dst) >= n {
		a, b := *(*[32]byte)(src), *(*[32]byte)(src[n-32:])
		*(*[32]byte)(dst), *(*[32]byte)(dst[n-32:]) = a, b
		return
	}
	copy(dst, src)
}
