package memif

import (
	"fmt"
	"sync/atomic"
)

// batch is what a call of Take or Put works on, and its counts.
type batch struct {
	run    func() error // the method that does it, once: method values allocate
	frames [][]byte
	n      int
	bytes  uint64
	bad    uint64 // frames that cannot be, or for which there is no room
}

// work runs the batch on the frames.
func (r *ring) work(b *batch, frames [][]byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	b.frames, b.n, b.bytes, b.bad = frames, 0, 0, 0
	if r.regions == nil {
		return ErrDown
	}
	err := r.err
	if err == nil {
		err = guard(b.run)
	}
	b.frames = nil
	if err != nil {
		r.err = err
	}
	return err
}

// takeAll copies frames out of the ring.
func (r *ring) takeAll(b *batch) error {
	avail, err := r.ready(len(b.frames))
	if err != nil || avail == 0 {
		return err
	}
	from := r.pos
	for b.n < len(b.frames) && avail > 0 && err == nil {
		used := r.takeSingles(b, min(avail, len(b.frames)-b.n))
		if used == 0 {
			if used, err = r.takeOne(b, avail); used == 0 {
				break
			}
		}
		avail -= used
		r.pos += uint16(used)
	}
	if r.client {
		for ; from != r.pos; from++ {
			r.offer(from)
		}
	}
	r.publish()
	if r.armed {
		r.armed = false
		r.view.setFlags(flagMask)
	}
	return err
}

// takeSingles copies the next frames, up to n, as long as they are in one buffer and fit, as nearly all are and do. It returns
// how many.
func (r *ring) takeSingles(b *batch, n int) int {
	desc, mask, pos, regions := r.view.desc, r.size-1, r.pos, r.regions
	frames := b.frames[b.n:]
	frames = frames[:min(n, len(frames))]
	r.touch(len(frames))
	bytes := uint64(0)
	for i := range frames {
		d := &desc[(pos+uint16(i))&mask]
		what, where := d.what, d.where
		region, length, off := what>>regionShift&halfMask, what>>lengthShift, where&maxLength
		f := frames[i]
		if what&flagNext != 0 || region >= uint64(len(regions)) || length < minFrame || length > uint64(cap(f)) {
			return b.moved(i, bytes)
		}
		mem := regions[region]
		if off+length > uint64(len(mem)) {
			return b.moved(i, bytes)
		}
		f = f[:length]
		frames[i] = f
		if src := mem[off:]; length <= shortFrame && cap(f) >= shortFrame && len(src) >= shortFrame {
			copyShort(f[:shortFrame], src)
		} else {
			copy(f, src)
		}
		bytes += length
	}
	return b.moved(len(frames), bytes)
}

func (b *batch) moved(n int, bytes uint64) int {
	b.n += n
	b.bytes += bytes
	return n
}

// shortFrame is the length up to which a frame is copied whole, with what follows it, rather than by a call.
const shortFrame = 64

// copyShort copies shortFrame bytes. What is behind a frame that is shorter is in the buffer as well.
func copyShort(dst, src []byte) {
	v := *(*[shortFrame]byte)(src) // by way of a variable: otherwise they might overlap
	*(*[shortFrame]byte)(dst) = v
}

// touch has the processor fetch the beginning of the next n frames at a time, instead of one after the other: they come from the
// cache of the sender's.
func (r *ring) touch(n int) {
	desc, mask, pos, regions := r.view.desc, r.size-1, r.pos, r.regions
	sum := byte(0)
	for i := range n {
		d := &desc[(pos+uint16(i))&mask]
		region, off := d.what>>regionShift&halfMask, d.where&maxLength
		if region < uint64(len(regions)) && off < uint64(len(regions[region])) {
			sum += regions[region][off]
		}
	}
	r.touched = sum
}

// takeOne copies the next frame, and returns how many entries it takes; 0 if its end is not there yet.
func (r *ring) takeOne(b *batch, avail int) (used int, err error) {
	d := &r.view.desc[r.pos&(r.size-1)]
	what, where := d.what, d.where
	if what&flagNext != 0 {
		return r.takeChain(b, avail)
	}
	mem := r.piece(what, where)
	if mem == nil {
		return 0, r.outside(what, where)
	}
	f := &b.frames[b.n]
	if len(mem) < minFrame || len(mem) > cap(*f) {
		b.bad++
		return 1, nil
	}
	*f = (*f)[:len(mem)]
	copy(*f, mem)
	b.n++
	b.bytes += uint64(len(mem))
	return 1, nil
}

// takeChain is takeOne for a frame in several buffers.
func (r *ring) takeChain(b *batch, avail int) (used int, err error) {
	f := b.frames[b.n][:0]
	fits := true
	for used < avail {
		d := &r.view.desc[(r.pos+uint16(used))&(r.size-1)]
		what, where := d.what, d.where
		used++
		mem := r.piece(what, where)
		if mem == nil {
			return 0, r.outside(what, where)
		}
		if fits = fits && len(f)+len(mem) <= cap(f); fits {
			f = append(f, mem...)
		}
		if what&flagNext == 0 {
			if !fits || len(f) < minFrame {
				b.bad++
				return used, nil
			}
			b.frames[b.n] = f
			b.n++
			b.bytes += uint64(len(f))
			return used, nil
		}
	}
	if used == int(r.size) {
		return 0, fmt.Errorf("frame of more than %d buffers: %w", r.size, errBroken)
	}
	return 0, nil
}

func (r *ring) outside(what, where uint64) error {
	return fmt.Errorf("buffer of %d bytes at %#x of region %d: %w", what>>lengthShift, where&maxLength, what>>regionShift&halfMask, errBroken)
}

// putAll copies frames into the ring. Those that do not fit are left out.
func (r *ring) putAll(b *batch) error {
	avail, err := r.ready(len(b.frames))
	if err != nil || avail == 0 {
		return err
	}
	first := r.putSingles(b, min(avail, len(b.frames)))
	avail -= first
	for _, f := range b.frames[first:] {
		if avail == 0 {
			break
		}
		used, err := r.putOne(f, avail)
		if used == 0 && err == nil { // there may be more buffers by now
			if avail, err = r.look(); avail > 0 {
				used, err = r.putOne(f, avail)
			}
		}
		if err != nil {
			return err
		}
		if used == 0 {
			continue
		}
		avail -= used
		r.pos += uint16(used)
		b.n++
		b.bytes += uint64(len(f))
	}
	r.publish()
	r.call()
	return nil
}

// putSingles copies the first frames, up to n, to one buffer each, as long as they fit, as nearly all do. It returns how many.
func (r *ring) putSingles(b *batch, n int) int {
	if r.client {
		return r.putOwn(b, n)
	}
	desc, mask, pos, regions := r.view.desc, r.size-1, r.pos, r.regions
	bytes := uint64(0)
	for i, f := range b.frames[:n] {
		d := &desc[(pos+uint16(i))&mask]
		what, where := d.what, d.where
		region, off, room := what>>regionShift&halfMask, where&maxLength, what>>lengthShift
		if uint64(len(f)) > room || region >= uint64(len(regions)) || off+room > uint64(len(regions[region])) {
			return r.placed(b, i, bytes)
		}
		copyFrame(regions[region][off:off+room], f)
		d.what = region<<regionShift | uint64(len(f))<<lengthShift
		bytes += uint64(len(f))
	}
	return r.placed(b, n, bytes)
}

// putOwn is putSingles for buffers of our own, whatever the descriptors say.
func (r *ring) putOwn(b *batch, n int) int {
	desc, mask, pos, mem := r.view.desc, r.size-1, r.pos, r.regions[0]
	bytes, room := uint64(0), uint64(r.room)
	for i, f := range b.frames[:n] {
		d := &desc[(pos+uint16(i))&mask]
		where := r.place(pos + uint16(i))
		if uint64(len(f)) > room {
			return r.placed(b, i, bytes)
		}
		copyFrame(mem[where:where+room], f)
		d.where, d.what = where, uint64(len(f))<<lengthShift
		bytes += uint64(len(f))
	}
	return r.placed(b, n, bytes)
}

// copyFrame copies f to a buffer that it fits in, and nothing of what may be behind f, which is not the peer's business.
func copyFrame(dst, f []byte) {
	if len(f) == shortFrame {
		copyShort(dst, f)
	} else {
		copy(dst, f)
	}
}

func (r *ring) placed(b *batch, n int, bytes uint64) int {
	r.pos += uint16(n)
	return b.moved(n, bytes)
}

// putOne copies a frame to the next buffers and returns how many it takes; 0 if there are not enough.
func (r *ring) putOne(f []byte, avail int) (used int, err error) {
	what, where, mem := r.buffer(r.pos)
	if mem == nil {
		return 0, r.outside(what, where)
	}
	if len(f) > len(mem) {
		return r.putChain(f, avail)
	}
	copy(mem, f)
	r.fill(r.pos, what, where, len(f), 0)
	return 1, nil
}

// putChain is putOne for a frame that takes several buffers.
func (r *ring) putChain(f []byte, avail int) (used int, err error) {
	room := 0
	for ; room < len(f); used++ {
		if used == avail {
			return 0, nil
		}
		what, where, mem := r.buffer(r.pos + uint16(used))
		if mem == nil {
			return 0, r.outside(what, where)
		}
		room += len(mem)
	}
	for i := range used {
		what, where, mem := r.buffer(r.pos + uint16(i))
		n := copy(mem, f)
		f = f[n:]
		flags := uint64(flagNext)
		if i == used-1 {
			flags = 0
		}
		r.fill(r.pos+uint16(i), what, where, n, flags)
	}
	if len(f) > 0 { // the peer changed its descriptors in between
		return 0, fmt.Errorf("buffers became shorter: %w", errBroken)
	}
	return used, nil
}

// buffer returns the empty buffer of entry i: the client's is its own, whatever the descriptor says.
func (r *ring) buffer(i uint16) (what, where uint64, mem []byte) {
	if r.client {
		where = r.place(i)
		return 0, where, r.regions[0][where : where+uint64(r.room)]
	}
	d := &r.view.desc[i&(r.size-1)]
	what, where = d.what, d.where
	return what, where, r.piece(what, where)
}

// fill writes the descriptor of n bytes in the buffer of entry i.
func (r *ring) fill(i uint16, what, where uint64, n int, flags uint64) {
	d := &r.view.desc[i&(r.size-1)]
	if r.client {
		d.where = where
	}
	d.what = what&(halfMask<<regionShift) | uint64(n)<<lengthShift | flags
}

// arm asks for an interrupt when there is a frame, and reports whether there is one already.
func (r *ring) arm() (more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.regions == nil || r.err != nil {
		return false
	}
	r.more = false
	err := guard(r.armIt)
	return r.more || err != nil
}

func (r *ring) doArm() error {
	r.view.setFlags(0)
	r.armed = true
	n, err := r.look()
	r.more = n > 0
	return err
}

// pending returns how many entries of a sending ring the peer has not given back: frames that it has not taken, or for a
// server buffers that its client has not offered again.
func (r *ring) pending() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.regions == nil || r.err != nil {
		return 0
	}
	err := guard(func() error {
		free, err := r.look()
		n = int(r.size) - free
		return err
	})
	if err != nil {
		return 0
	}
	return n
}

// add leaves a counter alone that does not change.
func add(c *atomic.Uint64, n uint64) {
	if n != 0 {
		c.Add(n)
	}
}
