package vnet

import "encoding/binary"

// Bits of Header.Flags and values of Header.GSOType (virtio 1.2 section 5.1.6).
const (
	NeedsCsum = 1 // the checksum at CsumStart + CsumOffset is to be completed

	GSONone  = 0
	GSOTCPv4 = 1
	GSOTCPv6 = 4
	GSOUDP   = 5    // UDP segments, not fragments
	GSOECN   = 0x80 // with one of TCP: segments have ECN bits
)

// Feature bits of the device.
const (
	featureCsum      = 1 << 0 // HOST_*: from the guest
	featureGuestCsum = 1 << 1 // GUEST_*: to the guest
	featureMTU       = 1 << 3 // the front-end may tell the guest one
	featureGuestTSO4 = 1 << 7
	featureGuestTSO6 = 1 << 8
	featureGuestECN  = 1 << 9
	featureHostTSO4  = 1 << 11
	featureHostTSO6  = 1 << 12
	featureHostECN   = 1 << 13
	featureMrgRxbuf  = 1 << 15
	featureMQ        = 1 << 22
	featureGuestUSO4 = 1 << 54
	featureGuestUSO6 = 1 << 55
	featureHostUSO   = 1 << 56
)

// Header is what virtio-net says of a frame. The zero value is that of a frame which is complete.
type Header struct {
	Flags      uint8
	GSOType    uint8
	HdrLen     uint16 // bytes of all headers, a hint
	GSOSize    uint16 // bytes of payload in each segment
	CsumStart  uint16 // where the checksum is computed from
	CsumOffset uint16 // from there to where it is stored
}

const (
	headerSize = 12 // num_buffers comes last
	legacySize = 10 // without it, before virtio 1.0 and without MRG_RXBUF
	etherSize  = 14
)

// sizeOf returns the length of the header under the features accepted.
func sizeOf(features uint64) int {
	if features&(1<<32|featureMrgRxbuf) == 0 {
		return legacySize
	}
	return headerSize
}

func (h *Header) decode(b []byte) {
	*h = Header{b[0], b[1], binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), binary.LittleEndian.Uint16(b[8:])}
}

func (h *Header) encode(b *[headerSize]byte, buffers int) {
	b[0], b[1] = h.Flags, h.GSOType
	for i, v := range [...]uint16{h.HdrLen, h.GSOSize, h.CsumStart, h.CsumOffset, uint16(buffers)} {
		binary.LittleEndian.PutUint16(b[2+2*i:], v)
	}
}

// sanitize checks what a guest with the features said of a frame of n bytes, and clears what means nothing. It reports
// whether the frame can be passed on.
func (h *Header) sanitize(n int, features uint64) bool {
	if h.Flags&NeedsCsum == 0 {
		ok := h.GSOType&^GSOECN == GSONone // segments need checksums
		*h = Header{}
		return ok
	}
	h.Flags = NeedsCsum
	if features&featureCsum == 0 || h.CsumStart < etherSize || int(h.CsumStart)+int(h.CsumOffset)+2 > n {
		return false
	}
	if h.GSOType == GSONone {
		h.HdrLen, h.GSOSize = 0, 0
		return true
	}
	need, transport := gsoNeeds(h.GSOType, hostGSO)
	if transport == 0 || features&need != need || h.GSOSize == 0 || int(h.CsumStart)+transport > n {
		return false
	}
	h.HdrLen = uint16(min(int(h.HdrLen), n))
	return true
}

// gsoBits are the features for one direction.
type gsoBits struct{ tso4, tso6, uso, ecn uint64 }

var (
	hostGSO  = gsoBits{featureHostTSO4, featureHostTSO6, featureHostUSO, featureHostECN}
	guestGSO = gsoBits{featureGuestTSO4, featureGuestTSO6, featureGuestUSO4 | featureGuestUSO6, featureGuestECN}
)

// gsoNeeds returns the features that a kind of segmentation needs, and the shortest transport header; 0 if there is no
// such kind.
func gsoNeeds(kind uint8, bits gsoBits) (features uint64, transport int) {
	switch kind {
	case GSOTCPv4:
		return bits.tso4, 20
	case GSOTCPv6:
		return bits.tso6, 20
	case GSOTCPv4 | GSOECN:
		return bits.tso4 | bits.ecn, 20
	case GSOTCPv6 | GSOECN:
		return bits.tso6 | bits.ecn, 20
	case GSOUDP:
		return bits.uso, 8
	}
	return 0, 0
}

// accepts reports whether a guest with the features takes a frame with this header as it is.
func (h *Header) accepts(features uint64) bool {
	if h.Flags&NeedsCsum == 0 {
		return h.GSOType == GSONone
	}
	if features&featureGuestCsum == 0 || h.GSOType == GSONone {
		return features&featureGuestCsum != 0
	}
	need, transport := gsoNeeds(h.GSOType, guestGSO)
	return transport != 0 && features&need == need
}
