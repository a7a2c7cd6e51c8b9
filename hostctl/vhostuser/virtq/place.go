package virtq

import (
	"encoding/binary"

	"picolab/hostctl/vhostuser/guestmem"
)

// PlaceSize is the number of bytes of Config.Place.
const PlaceSize = 32

// Layout of a place: the head of the inflight region of a packed queue, in version 1 (QEMU docs/interop/vhost-user.rst,
// "Inflight I/O tracking"). One word of 64 bits holds the used index of now and that of before the batch that was published
// last, 16 bits each, and then their wrap counters, 8 bits each: so both change at a time.
const (
	placeVersion = 8
	placeSize    = 10 // entries of the ring
	placeWord    = 16
	placeKnown   = 1 // the version
)

// resume goes on at the place where a predecessor was that crashed, if there was one, and else notes ours.
//
// Descriptors that were popped and never used are still available. What can be halfway is the publication of a batch: the
// place was noted before, and the first descriptor tells whether it came about.
func (q *packed) resume() {
	p := q.cfg.Place
	if p == nil {
		return
	}
	if at, ok := q.noted(p); ok {
		q.next, q.flushed, q.staged = at, at, at
	}
	q.note(q.flushed, q.flushed)
	binary.LittleEndian.PutUint16(p[placeSize:], uint16(q.cfg.Size))
	binary.LittleEndian.PutUint16(p[placeVersion:], placeKnown)
}

// noted returns where a predecessor was. In a ring of which nothing was ever used that is the beginning: the driver has begun
// anew.
func (q *packed) noted(p []byte) (at uint16, ok bool) {
	version, size := binary.LittleEndian.Uint16(p[placeVersion:]), binary.LittleEndian.Uint16(p[placeSize:])
	w := binary.LittleEndian.Uint64(p[placeWord:])
	now, before := half(w, 0), half(w, 1)
	if version != placeKnown || size != q.size() || now&^(1<<15) > q.mask || before&^(1<<15) > q.mask {
		return 0, false
	}
	if !q.everUsed() { // or a whole number of double laps ago, which is the same place
		return 0, true
	}
	if now != before && q.usedAt(q.position(before)) {
		return q.position(now), true
	}
	return q.position(before), true
}

func (q *packed) everUsed() bool {
	for i := range q.size() {
		if q.descs[i].rest>>48&flagUsed != 0 {
			return true
		}
	}
	return false
}

// half returns one of the two places in w, as half a base.
func half(w uint64, i int) uint16 {
	return uint16(w>>(16*i))&^(1<<15) | uint16(w>>(32+8*i)&1)<<15
}

// usedAt reports whether the descriptor at p is used, in the lap of p.
func (q *packed) usedAt(p uint16) bool {
	word := guestmem.Load32(q.desc, descSize*int(p&q.mask)+descWord)
	want := uint32(0)
	if p&q.size() == 0 {
		want = flagsOwner << 16
	}
	return word&(flagsOwner<<16) == want
}

// note writes down where the device is, and was before.
func (q *packed) note(now, before uint16) {
	n, b := uint64(q.place(now)), uint64(q.place(before))
	w := n&^(1<<15) | b&^(1<<15)<<16 | n>>15<<32 | b>>15<<40
	binary.LittleEndian.PutUint64(q.cfg.Place[placeWord:], w)
}
