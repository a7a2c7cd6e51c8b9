package virtiouser

import (
	"encoding/binary"

	"picolab/hostctl/vhostuser/guestmem"
)

// Layout of a split ring (virtio 1.2 section 2.7): sizes and offsets in bytes.
const (
	availRing = 4 // u16 each; the u16 flags are at 0, the u16 index at 2
	usedRing  = 4 // id u32, length u32 each; flags and index as above
	usedEntry = 8
	noCall    = 1 // in the driver's flags: the device is not to call
	noKick    = 1 // in the device's flags: the driver need not kick
)

// split is a split ring. Indices run modulo 2^16.
type split struct {
	buffers
	desc, avail, used int // offsets
	next              uint16
	taken             uint16
}

func newSplit(m *memory, size, room int, write bool) *split {
	q := &split{desc: m.reserve(size * descSize), avail: m.reserve(availRing + 2*size + 2), used: m.reserve(usedRing + usedEntry*size + 2)}
	q.buffers = newBuffers(m, size, room, write)
	return q
}

func (q *split) begin() { guestmem.Store32(q.m.mem, q.avail, noCall) }

func (q *split) add(b []buffer) {
	if len(b) == 0 {
		return
	}
	desc, heads := q.m.mem[q.desc:], q.m.mem[q.avail+availRing:]
	for i := range b {
		id := b[i].id
		d := desc[descSize*int(id):][:descSize]
		binary.LittleEndian.PutUint64(d, q.at(id))
		binary.LittleEndian.PutUint64(d[8:], uint64(b[i].len)|uint64(q.flags)<<32)
		binary.LittleEndian.PutUint16(heads[2*int(q.next&q.mask):], id)
		q.lent[id] = true
		q.next++
	}
	guestmem.Store32(q.m.mem, q.avail, noCall|uint32(q.next)<<16)
}

func (q *split) take(b []buffer) (int, error) {
	if q.failure != nil {
		return 0, q.failure
	}
	index := uint16(guestmem.Load32(q.m.mem, q.used) >> 16)
	n := int(index - q.taken)
	if n > int(q.next-q.taken) {
		return 0, q.broken("used index %d is %d ahead", index, n)
	}
	n = min(n, len(b))
	entries := q.m.mem[q.used+usedRing:]
	for i := range n {
		v := binary.LittleEndian.Uint64(entries[usedEntry*int(q.taken&q.mask):])
		if err := q.back(uint32(v), uint32(v>>32)); err != nil {
			if i > 0 {
				err = nil
			}
			return i, err
		}
		b[i] = buffer{uint16(v), uint32(v >> 32)}
		q.taken++
	}
	return n, nil
}

func (q *split) kickWanted() bool { return guestmem.Load32(q.m.mem, q.used)&noKick == 0 }

func (q *split) address(index uint32) []byte { return address(index, q.desc, q.used, q.avail) }

func (q *split) base() uint32 { return 0 }
