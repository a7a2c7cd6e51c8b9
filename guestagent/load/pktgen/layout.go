package pktgen

import "encoding/binary"

// Lengths and numbers of the headers (IEEE 802.3, RFC 791, RFC 8200, RFC 768).
const (
	ethernetLen = 14
	ipv4Len     = 20
	ipv6Len     = 40
	udpLen      = 8

	typeIPv4    = 0x0800
	typeIPv6    = 0x86dd
	typeVLAN    = 0x8100
	protocolUDP = 17
)

// Lengths of frames without the CRC.
const (
	MinFrame     = 16    // the original's
	MaxFrame     = 65536 // the original's, also the longest that a vale or memif port may carry
	DefaultFrame = 60
)

// headersLen is where the payload starts.
func headersLen(v6 bool) int {
	if v6 {
		return ethernetLen + ipv6Len + udpLen
	}
	return ethernetLen + ipv4Len + udpLen
}

// datagram is a view of a received UDP datagram.
type datagram struct {
	src, dst []byte // IP addresses
	udp      []byte // header and payload
	v6       bool
}

// parse finds the UDP datagram in a frame, behind at most one VLAN tag. Fragments and IPv6 extension headers are
// nothing that pkt-gen sends.
func parse(frame []byte) (datagram, bool) {
	if len(frame) < ethernetLen {
		return datagram{}, false
	}
	kind, packet := binary.BigEndian.Uint16(frame[12:]), frame[ethernetLen:]
	if kind == typeVLAN && len(packet) >= 4 {
		kind, packet = binary.BigEndian.Uint16(packet[2:]), packet[4:]
	}
	switch kind {
	case typeIPv4:
		return parse4(packet)
	case typeIPv6:
		return parse6(packet)
	}
	return datagram{}, false
}

func parse4(p []byte) (datagram, bool) {
	if len(p) < ipv4Len || p[0]>>4 != 4 || p[9] != protocolUDP {
		return datagram{}, false
	}
	header, total := int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
	fragment := binary.BigEndian.Uint16(p[6:]) & 0x3fff
	if header < ipv4Len || total > len(p) || total < header+udpLen || fragment != 0 {
		return datagram{}, false
	}
	return datagram{src: p[12:16], dst: p[16:20], udp: p[header:total]}.checked()
}

func parse6(p []byte) (datagram, bool) {
	if len(p) < ipv6Len || p[0]>>4 != 6 || p[6] != protocolUDP {
		return datagram{}, false
	}
	total := ipv6Len + int(binary.BigEndian.Uint16(p[4:]))
	if total > len(p) || total < ipv6Len+udpLen {
		return datagram{}, false
	}
	return datagram{src: p[8:24], dst: p[24:40], udp: p[ipv6Len:total], v6: true}.checked()
}

// checked cuts the datagram to the length its own header says.
func (d datagram) checked() (datagram, bool) {
	n := int(binary.BigEndian.Uint16(d.udp[4:]))
	if n < udpLen || n > len(d.udp) {
		return datagram{}, false
	}
	d.udp = d.udp[:n]
	return d, true
}

func (d datagram) payload() []byte { return d.udp[udpLen:] }

// sound says whether the UDP checksum holds; one of 0 over IPv4 was not made.
func (d datagram) sound() bool {
	if binary.BigEndian.Uint16(d.udp[6:]) == 0 {
		return !d.v6
	}
	return fold(sum16(d.udp, pseudoSum(d.src, d.dst, len(d.udp)))) == 0xffff
}
