package vale

// MaxFrame is the length in bytes of the longest frame: 64 KiB of IP packet behind an Ethernet header with a VLAN tag.
const MaxFrame = 65535 + 18

// MaxBatch is the greatest number of frames that a Port is given, or asked for, in one call.
const MaxBatch = 256

const etherSize = 14

// Bits of Header.Flags and values of Header.GSOType (virtio 1.2 section 5.1.6).
const (
	NeedsCsum = 1 // the checksum at CsumStart + CsumOffset is to be completed

	GSONone  = 0
	GSOTCPv4 = 1
	GSOTCPv6 = 4
	GSOUDP   = 5    // UDP segments, not fragments
	GSOECN   = 0x80 // with one of TCP: only the first segment has CWR
)

// Header says what is left to do for a frame. The zero value is that of a frame which is complete. It has the fields of
// virtio-net's header, which are what Linux tells of a frame as well.
type Header struct {
	Flags      uint8 // NeedsCsum or 0
	GSOType    uint8
	HdrLen     uint16 // bytes of all headers, a hint
	GSOSize    uint16 // bytes of payload in each segment
	CsumStart  uint16 // where the checksum is computed from
	CsumOffset uint16 // from there to where it is stored
}

// Frame is an Ethernet frame without its check sequence.
type Frame struct {
	Header Header
	Data   []byte
}

// Offloads is a set of Headers that a port takes.
type Offloads uint8

// What a port may take. All but Csum need Csum.
const (
	Csum Offloads = 1 << iota // an incomplete checksum
	TSO4                      // GSOTCPv4
	TSO6                      // GSOTCPv6
	ECN                       // GSOECN with either of these
	USO                       // GSOUDP
)

// gsoNeeds returns what a port must take for a kind of segmentation, and 0 for one that does not exist.
func gsoNeeds(kind uint8) Offloads {
	switch kind {
	case GSOTCPv4:
		return Csum | TSO4
	case GSOTCPv6:
		return Csum | TSO6
	case GSOTCPv4 | GSOECN:
		return Csum | TSO4 | ECN
	case GSOTCPv6 | GSOECN:
		return Csum | TSO6 | ECN
	case GSOUDP:
		return Csum | USO
	}
	return 0
}

// needs returns what a port must take for the header, and whether the header makes sense at all for a frame of n bytes.
// Every port checks what it was told before it passes it on (CVE-2024-11614); this keeps one that does not from harming
// others.
func (h *Header) needs(n int) (Offloads, bool) {
	if h.Flags&NeedsCsum == 0 {
		return 0, h.GSOType == GSONone
	}
	if h.CsumStart < etherSize || int(h.CsumStart)+int(h.CsumOffset)+2 > n {
		return 0, false
	}
	if h.GSOType == GSONone {
		return Csum, true
	}
	need := gsoNeeds(h.GSOType)
	return need, need != 0 && h.GSOSize != 0
}
