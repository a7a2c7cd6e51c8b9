package frontend

import (
	"encoding/binary"
	"sync/atomic"
)

// Packed is a driver's packed ring (virtio 1.2 section 2.8). The fields may be changed at will to misbehave.
type Packed struct {
	order
	Mem                  *Memory
	Size                 int
	Desc, Driver, Device int // offsets in the memory: descriptors, event area of the driver, and of the device
	Avail, Used          Place
	Free                 []uint16 // buffer ids, last one first
	Room                 int      // entries that are not taken
	count                []int    // entries that the buffer with this id takes
}

// Place is an entry and the wrap counter of the lap it is meant in.
type Place struct {
	Entry int
	Wrap  bool
}

// NewPacked allocates a ring.
func NewPacked(m *Memory, size int) *Packed {
	r := &Packed{Mem: m, Size: size, Room: size, count: make([]int, size)}
	r.Desc, r.Driver, r.Device = m.Alloc(16*size), m.Alloc(4), m.Alloc(4)
	r.Avail.Wrap, r.Used.Wrap = true, true
	for i := size - 1; i >= 0; i-- {
		r.Free = append(r.Free, uint16(i))
	}
	return r
}

// advance moves p on by n entries.
func (r *Packed) advance(p *Place, n int) {
	if p.Entry += n; p.Entry >= r.Size {
		p.Entry, p.Wrap = p.Entry-r.Size, !p.Wrap
	}
}

// Owner returns the flags AVAIL and USED of a descriptor that is available, or used, in the lap of p.
func (p Place) Owner(used bool) uint16 {
	var flags uint16
	if p.Wrap {
		flags |= 1 << 7
	}
	if p.Wrap == used {
		flags |= 1 << 15
	}
	return flags
}

// Put writes entry i, flags last.
func (r *Packed) Put(i int, addr uint64, n uint32, id, flags uint16) {
	d := r.Mem.Mem[r.Desc+16*i:]
	binary.LittleEndian.PutUint64(d, addr)
	binary.LittleEndian.PutUint32(d[8:], n)
	atomic.StoreUint32(word(d, 12), uint32(id)|uint32(flags)<<16)
}

// Add makes a buffer of the pieces available, a chain of entries, and returns its id.
func (r *Packed) Add(bufs ...Buf) uint16 {
	id := r.take(len(bufs))
	at := make([]Place, len(bufs))
	for i := range at {
		at[i] = r.Avail
		r.advance(&r.Avail, 1)
	}
	for i := len(bufs) - 1; i >= 0; i-- { // the head is what publishes it
		flags := at[i].Owner(false) | bufs[i].flags()
		if i+1 < len(bufs) {
			flags |= Next
		}
		r.Put(at[i].Entry, r.Mem.GPA+uint64(bufs[i].Off), uint32(bufs[i].Len), id, flags)
	}
	return id
}

// AddIndirect is Add by way of a table at offset table, of 16 bytes a piece.
func (r *Packed) AddIndirect(table int, bufs ...Buf) uint16 {
	id := r.take(1)
	for i, b := range bufs {
		d := r.Mem.Mem[table+16*i:]
		binary.LittleEndian.PutUint64(d, r.Mem.GPA+uint64(b.Off))
		binary.LittleEndian.PutUint32(d[8:], uint32(b.Len))
		binary.LittleEndian.PutUint32(d[12:], uint32(b.flags())<<16)
	}
	r.Put(r.Avail.Entry, r.Mem.GPA+uint64(table), uint32(16*len(bufs)), id, r.Avail.Owner(false)|Indirect)
	r.advance(&r.Avail, 1)
	return id
}

func (b Buf) flags() uint16 {
	if b.Write {
		return Write
	}
	return 0
}

// take takes an id for a buffer of n entries.
func (r *Packed) take(n int) uint16 {
	if n > r.Room {
		panic("frontend: packed ring is full")
	}
	id := r.Free[len(r.Free)-1]
	r.Free = r.Free[:len(r.Free)-1]
	r.count[id], r.Room = n, r.Room-n
	r.offered(id)
	return id
}

// Take returns the next used buffer.
func (r *Packed) Take() (id uint16, written int, ok bool) {
	d := r.Mem.Mem[r.Desc+16*r.Used.Entry:]
	w := atomic.LoadUint32(word(d, 12))
	if !r.within && uint16(w>>16)&(1<<7|1<<15) != r.Used.Owner(true) {
		return 0, 0, false
	}
	id, written = r.used(uint16(w), int(binary.LittleEndian.Uint32(d[8:])))
	r.advance(&r.Used, r.count[id])
	r.Room += r.count[id]
	r.Free, r.count[id] = append(r.Free, id), 0
	return id, written, true
}

// Event modes of the suppression areas.
const (
	EventEnable  = 0
	EventDisable = 1
	EventPlace   = 2
)

// SetEvent tells the device when to call; at matters for EventPlace.
func (r *Packed) SetEvent(mode uint32, at Place) {
	atomic.StoreUint32(word(r.Mem.Mem, r.Driver), uint32(at.half())|mode<<16)
}

// Event returns when the device wants kicks.
func (r *Packed) Event() (mode uint32, at Place) {
	w := atomic.LoadUint32(word(r.Mem.Mem, r.Device))
	return w >> 16, Place{int(w & 0x7fff), w&0x8000 != 0}
}

// Base returns the base for a device that begins here.
func (r *Packed) Base() uint32 { return uint32(r.Avail.half()) | uint32(r.Used.half())<<16 }

func (p Place) half() uint16 {
	v := uint16(p.Entry)
	if p.Wrap {
		v |= 1 << 15
	}
	return v
}

// Entries returns the size.
func (r *Packed) Entries() int { return r.Size }

// Addr encodes a vring_addr.
func (r *Packed) Addr(index uint32) []byte {
	return vringAddr(r.Mem, index, r.Desc, r.Device, r.Driver)
}
