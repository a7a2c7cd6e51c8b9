package virtiouser

import (
	"encoding/binary"

	"picolab/hostctl/vhostuser/guestmem"
)

// Layout of a packed ring (virtio 1.2 section 2.8): descriptors end with a word of the buffer's id and flags; the event areas
// are a word each, of which the upper half says whether to notify.
const (
	descWord   = 12
	flagAvail  = 1 << 7 // equal to the driver's wrap counter, and flagUsed is not: available; both equal: used
	flagUsed   = 1 << 15
	flagsOwner = (flagAvail | flagUsed) << 16
	eventNone  = 1 << 16
	eventMask  = 3 << 16
	packedBase = 0x80008000 // both positions 0, both wrap counters 1
)

// packed is a packed ring. Positions run modulo 2^16, the entry being position modulo size; the bit above the entry tells the
// laps apart: where it is clear, the wrap counter is 1.
type packed struct {
	buffers
	desc, driver, device int // offsets
	next                 uint16
	taken                uint16
}

func newPacked(m *memory, size, room int, write bool) *packed {
	q := &packed{desc: m.reserve(size * descSize), driver: m.reserve(4), device: m.reserve(4)}
	q.buffers = newBuffers(m, size, room, write)
	return q
}

func (q *packed) begin() { guestmem.Store32(q.m.mem, q.driver, eventNone) }

// available returns the flags of a descriptor at p that is available, used those of one that is used, both as in its word.
func (q *packed) available(p uint16) uint32 {
	if p&(q.mask+1) != 0 {
		return flagUsed << 16
	}
	return flagAvail << 16
}

func (q *packed) used(p uint16) uint32 {
	if p&(q.mask+1) != 0 {
		return 0
	}
	return flagsOwner
}

// add writes the first descriptor's word last: the device does not get past it before.
func (q *packed) add(b []buffer) {
	if len(b) == 0 {
		return
	}
	desc, first := q.m.mem[q.desc:], int(q.next&q.mask)
	for i := range b {
		id := b[i].id
		d := desc[descSize*int(q.next&q.mask):][:descSize]
		binary.LittleEndian.PutUint64(d, q.at(id))
		if i == 0 {
			binary.LittleEndian.PutUint32(d[8:], b[0].len)
		} else {
			binary.LittleEndian.PutUint64(d[8:], uint64(b[i].len)|uint64(q.word(id, q.next))<<32)
		}
		q.lent[id] = true
		q.next++
	}
	guestmem.Store32(desc, descSize*first+descWord, q.word(b[0].id, q.next-uint16(len(b))))
}

// word is that of an available descriptor.
func (q *packed) word(id, p uint16) uint32 { return uint32(id) | q.flags<<16 | q.available(p) }

func (q *packed) take(b []buffer) (int, error) {
	if q.failure != nil {
		return 0, q.failure
	}
	desc := q.m.mem[q.desc:]
	n := min(len(b), int(q.next-q.taken))
	for i := range n {
		at := descSize * int(q.taken&q.mask)
		word := guestmem.Load32(desc, at+descWord)
		if word&flagsOwner != q.used(q.taken) {
			return i, nil
		}
		length := binary.LittleEndian.Uint32(desc[at+8:])
		if err := q.back(word&0xffff, length); err != nil {
			if i > 0 {
				err = nil
			}
			return i, err
		}
		b[i] = buffer{uint16(word), length}
		q.taken++
	}
	return n, nil
}

func (q *packed) kickWanted() bool {
	return guestmem.Load32(q.m.mem, q.device)&eventMask != eventNone
}

func (q *packed) address(index uint32) []byte { return address(index, q.desc, q.device, q.driver) }

func (q *packed) base() uint32 { return packedBase }
