package memif

import (
	"sync/atomic"
	"unsafe"
)

// descriptor is 16 bytes in shared memory: read each half once. In what are flags, region (16 bits each) and length (32), in
// where are offset and metadata (32 bits each). The machine is little-endian, as the protocol is.
type descriptor struct{ what, where uint64 }

// ringView is a ring in shared memory, as an array that any 16-bit index is in: the caller's mask keeps it in what is there.
type ringView struct {
	state *uint32 // flags in the lower half, head in the upper
	tail  *uint32 // in the lower half
	desc  *[1 << 16]descriptor
}

// viewRing views b, a ring of n entries that begins at a multiple of 8 bytes; indices must be less than n.
func viewRing(b []byte, n int) ringView {
	b = b[:ringSize(n)]
	return ringView{
		state: (*uint32)(unsafe.Pointer(unsafe.SliceData(b[ringFlags:]))),
		tail:  (*uint32)(unsafe.Pointer(unsafe.SliceData(b[ringTail:]))),
		desc:  (*[1 << 16]descriptor)(unsafe.Pointer(unsafe.SliceData(b[ringDesc:]))),
	}
}

func (r ringView) loadHead() uint16 { return uint16(atomic.LoadUint32(r.state) >> 16) }
func (r ringView) loadTail() uint16 { return uint16(atomic.LoadUint32(r.tail)) }

// storeHead leaves the flags alone, which are the receiver's, and is a full barrier.
func (r ringView) storeHead(v uint16) { r.replace(0xffff, uint32(v)<<16) }

// storeTail is a full barrier.
func (r ringView) storeTail(v uint16) { atomic.StoreUint32(r.tail, uint32(v)) }

// setFlags leaves the head alone and is a full barrier.
func (r ringView) setFlags(v uint16) { r.replace(0xffff_0000, uint32(v)) }

func (r ringView) flags() uint16 { return uint16(atomic.LoadUint32(r.state)) }

func (r ringView) replace(keep, v uint32) {
	for {
		if old := atomic.LoadUint32(r.state); atomic.CompareAndSwapUint32(r.state, old, old&keep|v) {
			return
		}
	}
}
