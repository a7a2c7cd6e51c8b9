package netmap

import "encoding/binary"

// The kernel's interface, net/netmap.h of API 14. Offsets are in bytes; numbers are in the machine's order, and words
// that the kernel changes are read once.
const (
	ioctlControl = 0xc0586997 // NIOCCTRL
	ioctlTxSync  = 0x6994     // NIOCTXSYNC
	ioctlRxSync  = 0x6995     // NIOCRXSYNC

	apiVersion      = 14
	requestRegister = 1

	// struct nmreq_header
	headerLen   = 88
	headerName  = 8
	nameLen     = 64
	headerBody  = 80
	headerType  = 2
	registerLen = 56

	// struct nmreq_register
	registerOffset  = 0
	registerMemSize = 8
	registerRing    = 34
	registerMode    = 36

	// struct netmap_if
	ifTxRings     = 24
	ifRxRings     = 28
	ifHostTxRings = 36
	ifHostRxRings = 40
	ifRingOffsets = 56

	// struct netmap_ring
	ringBuffers  = 0
	ringSlots    = 8
	ringBufSize  = 12
	ringHead     = 20
	ringCur      = 24
	ringTail     = 28
	ringSlotBase = 256

	// struct netmap_slot
	slotLen      = 16
	slotIndex    = 0
	slotLength   = 4
	slotFlags    = 6
	flagReport   = 2 // NS_REPORT: tell when it has left
	slotFlagsEnd = 8
)

// header encodes struct nmreq_header for a body at address.
func header(name string, body uint64) []byte {
	b := make([]byte, headerLen)
	binary.NativeEndian.PutUint16(b, apiVersion)
	binary.NativeEndian.PutUint16(b[headerType:], requestRegister)
	copy(b[headerName:headerName+nameLen-1], name)
	binary.NativeEndian.PutUint64(b[headerBody:], body)
	return b
}

// body encodes struct nmreq_register.
func (r request) body() []byte {
	b := make([]byte, registerLen)
	binary.NativeEndian.PutUint16(b[registerRing:], r.ring)
	binary.NativeEndian.PutUint32(b[registerMode:], r.mode)
	return b
}
