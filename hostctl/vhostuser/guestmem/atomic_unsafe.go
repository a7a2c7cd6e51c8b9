package guestmem

import (
	"sync/atomic"
	"unsafe"
)

// Load32 reads the aligned 32-bit word at b[off] with acquire semantics.
func Load32(b []byte, off int) uint32 {
	return atomic.LoadUint32((*uint32)(unsafe.Pointer(unsafe.SliceData(b[off : off+4]))))
}

// Store32 writes the aligned 32-bit word at b[off] and is a full barrier.
func Store32(b []byte, off int, v uint32) {
	atomic.StoreUint32((*uint32)(unsafe.Pointer(unsafe.SliceData(b[off:off+4]))), v)
}

// or32 sets bits of the aligned 32-bit word at b[off] and is a full barrier.
func or32(b []byte, off int, bits uint32) {
	atomic.OrUint32((*uint32)(unsafe.Pointer(unsafe.SliceData(b[off:off+4]))), bits)
}

// Load16 reads the aligned 16-bit word at b[off] with acquire semantics. Go has no 16-bit atomics, so it reads the
// 32-bit word around it, which lies in the same page: b must come from a Table.
func Load16(b []byte, off int) uint16 {
	word, shift := around(b, off)
	return uint16(atomic.LoadUint32(word) >> shift)
}

// Store16 writes the aligned 16-bit word at b[off], leaves its neighbour alone and is a full barrier. b must come from
// a Table.
func Store16(b []byte, off int, v uint16) {
	word, shift := around(b, off)
	for {
		old := atomic.LoadUint32(word)
		if atomic.CompareAndSwapUint32(word, old, old&^(0xffff<<shift)|uint32(v)<<shift) {
			return
		}
	}
}

// around returns the aligned 32-bit word that holds b[off:off+2], and the bit position within it.
func around(b []byte, off int) (word *uint32, shift uint) {
	p := unsafe.Pointer(unsafe.SliceData(b[off : off+2]))
	low := uintptr(p) & 2
	return (*uint32)(unsafe.Add(p, -int(low))), uint(low) * 8
}

// Aligned reports whether b starts at a multiple of n bytes, n a power of two.
func Aligned(b []byte, n uintptr) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))&(n-1) == 0
}
