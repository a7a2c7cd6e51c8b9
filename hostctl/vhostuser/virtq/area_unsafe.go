package virtq

import (
	"sync/atomic"
	"unsafe"
)

// rawDescriptor is a descriptor in shared memory: read each half once. In rest are the length, in the lower 32 bits, then
// flags and next for a split ring, id and flags for a packed one. The machine is little-endian, as the rings are.
type rawDescriptor struct{ addr, rest uint64 }

// The areas of rings, as arrays that any 16-bit index is in: the caller's mask keeps it in what is there, so that there is
// nothing to check in between.
type (
	descriptors [1 << 16]rawDescriptor
	availHeads  [1 << 16]uint16
	usedEntries [1 << 16]uint64 // id, then length, 32 bits each
)

// asDescriptors views b, n descriptors long; indices must be less than n.
func asDescriptors(b []byte, n int) *descriptors {
	return (*descriptors)(unsafe.Pointer(unsafe.SliceData(b[:n*descSize])))
}

// asAvailHeads views the entries of an avail ring of n; indices must be less than n.
func asAvailHeads(b []byte, n int) *availHeads {
	return (*availHeads)(unsafe.Pointer(unsafe.SliceData(b[availRing : availRing+2*n])))
}

// asUsedEntries views the entries of a used ring of n; indices must be less than n.
func asUsedEntries(b []byte, n int) *usedEntries {
	return (*usedEntries)(unsafe.Pointer(unsafe.SliceData(b[usedRing : usedRing+usedEntry*n])))
}

// loadWord reads id and flags of a packed ring's descriptor with acquire semantics.
func loadWord(d *rawDescriptor) uint32 {
	return atomic.LoadUint32((*uint32)(unsafe.Add(unsafe.Pointer(d), descWord)))
}
