package frontend

import (
	"encoding/binary"
	"sync/atomic"
)

// Descriptor flags of split rings.
const (
	Next     = 1
	Write    = 2
	Indirect = 4
)

// Buf is a piece of a buffer: n bytes at an offset of the memory, for the device to read or to write.
type Buf struct {
	Off   int
	Len   int
	Write bool
}

// Ring is a driver's split ring. The fields may be changed at will to misbehave.
type Ring struct {
	order
	Mem               *Memory
	Size              int
	Desc, Avail, Used int // offsets in the memory
	EventIdx          bool
	Free              []uint16 // descriptors, last one first
	AvailIdx, UsedIdx uint16
	count             []int // descriptors of the chain that begins here
}

// NewRing allocates a ring.
func NewRing(m *Memory, size int, eventIdx bool) *Ring {
	r := &Ring{Mem: m, Size: size, EventIdx: eventIdx, count: make([]int, size)}
	r.Desc, r.Avail, r.Used = m.Alloc(16*size), m.Alloc(6+2*size), m.Alloc(6+8*size)
	for i := size - 1; i >= 0; i-- {
		r.Free = append(r.Free, uint16(i))
	}
	return r
}

// Entries returns the size.
func (r *Ring) Entries() int { return r.Size }

// PutDesc writes entry i of the table at offset table.
func (r *Ring) PutDesc(table, i int, addr uint64, n uint32, flags, next uint16) {
	d := r.Mem.Mem[table+16*i:]
	binary.LittleEndian.PutUint64(d, addr)
	binary.LittleEndian.PutUint32(d[8:], n)
	binary.LittleEndian.PutUint16(d[12:], flags)
	binary.LittleEndian.PutUint16(d[14:], next)
}

// Add makes a buffer of the pieces available and returns its head.
func (r *Ring) Add(bufs ...Buf) uint16 {
	var ids []uint16
	for range bufs {
		ids = append(ids, r.Free[len(r.Free)-1])
		r.Free = r.Free[:len(r.Free)-1]
	}
	for i, b := range bufs {
		var flags, next uint16
		if b.Write {
			flags |= Write
		}
		if i+1 < len(bufs) {
			flags, next = flags|Next, ids[i+1]
		}
		r.PutDesc(r.Desc, int(ids[i]), r.Mem.GPA+uint64(b.Off), uint32(b.Len), flags, next)
	}
	r.count[ids[0]] = len(bufs)
	r.Offer(ids[0])
	return ids[0]
}

// Offer puts head in the avail ring and publishes it.
func (r *Ring) Offer(head uint16) {
	r.offered(head)
	binary.LittleEndian.PutUint16(r.Mem.Mem[r.Avail+4+2*(int(r.AvailIdx)%r.Size):], head)
	r.AvailIdx++
	r.SetAvailIdx(r.AvailIdx)
}

// SetAvailIdx publishes any index.
func (r *Ring) SetAvailIdx(idx uint16) { storeHigh(r.Mem.Mem, r.Avail, idx) }

// SetUsedEvent asks for a call once the used index passes v.
func (r *Ring) SetUsedEvent(v uint16) {
	binary.LittleEndian.PutUint16(r.Mem.Mem[r.Avail+4+2*r.Size:], v)
}

// AvailEvent returns the index for which the device wants a kick.
func (r *Ring) AvailEvent() uint16 {
	return binary.LittleEndian.Uint16(r.Mem.Mem[r.Used+4+8*r.Size:])
}

// NoNotify reports whether the device wants no kicks (without EVENT_IDX).
func (r *Ring) NoNotify() bool { return loadWord(r.Mem.Mem, r.Used)&1 != 0 }

// PublishedUsed returns the device's used index.
func (r *Ring) PublishedUsed() uint16 { return uint16(loadWord(r.Mem.Mem, r.Used) >> 16) }

// Take returns the next used buffer; it asks to be called for the one after that.
func (r *Ring) Take() (head uint16, written int, ok bool) {
	if r.PublishedUsed() == r.UsedIdx {
		return 0, 0, false
	}
	e := r.Mem.Mem[r.Used+4+8*(int(r.UsedIdx)%r.Size):]
	head, written = uint16(binary.LittleEndian.Uint32(e)), int(binary.LittleEndian.Uint32(e[4:]))
	head, written = r.used(head, written)
	r.UsedIdx++
	r.SetUsedEvent(r.UsedIdx)
	r.release(head)
	return head, written, true
}

// release frees the descriptors of a chain that Add made.
func (r *Ring) release(head uint16) {
	i := head
	for range r.count[head] {
		r.Free = append(r.Free, i)
		i = binary.LittleEndian.Uint16(r.Mem.Mem[r.Desc+16*int(i)+14:])
	}
	r.count[head] = 0
}

func loadWord(b []byte, off int) uint32 { return atomic.LoadUint32(word(b, off)) }

// storeHigh publishes the upper 16 bits of a word of which the lower ones are the driver's as well.
func storeHigh(b []byte, off int, v uint16) {
	w := word(b, off)
	atomic.StoreUint32(w, atomic.LoadUint32(w)&0xffff|uint32(v)<<16)
}
