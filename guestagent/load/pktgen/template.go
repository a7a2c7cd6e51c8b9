package pktgen

import (
	"encoding/binary"
	"strings"
)

// payloadText fills payloads, as in the original.
const payloadText = "netmap pkt-gen DIRECT payload\nhttp://info.iet.unipi.it/~luigi/netmap/ "

// Headers is what the frames of a sender say.
type Headers struct {
	Source, Destination       Range
	SourceMAC, DestinationMAC [6]byte
	V6                        bool
}

// template is a frame of one length that is changed in place, its checksums with it.
type template struct {
	frame      []byte
	v6         bool
	src, dst   int // offsets of the counted parts of the addresses
	udp        int // offset of the UDP header; 0 in a frame too short for one
	headerSums bool
}

// newTemplate builds a frame of size bytes. One that is too short for its headers has as much of them as fits.
func newTemplate(h *Headers, size int) *template {
	body := headersLen(h.V6)
	f := make([]byte, max(size, body))
	copy(f, h.DestinationMAC[:])
	copy(f[6:], h.SourceMAC[:])
	fillPayload(f[body:])
	t := &template{frame: f[:size], v6: h.V6}
	if h.V6 {
		t.fill6(f, h)
	} else {
		t.fill4(f, h)
	}
	udp := f[t.udp:]
	binary.BigEndian.PutUint16(udp, h.Source.FirstPort)
	binary.BigEndian.PutUint16(udp[2:], h.Destination.FirstPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	binary.BigEndian.PutUint16(udp[6:], adjust(^fold(t.pseudo(f)+sum16(udp, 0)), 0, 0))
	t.headerSums = size >= body
	return t
}

// fillPayload repeats the text; the last byte is 0.
func fillPayload(b []byte) {
	if len(b) == 0 {
		return
	}
	copy(b, strings.Repeat(payloadText, len(b)/len(payloadText)+1))
	b[len(b)-1] = 0
}

func (t *template) fill4(f []byte, h *Headers) {
	binary.BigEndian.PutUint16(f[12:], typeIPv4)
	ip := f[ethernetLen:]
	ip[0], ip[1] = 0x45, 0x10 // IPTOS_LOWDELAY
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	ip[6] = 0x40 // don't fragment
	ip[8], ip[9] = 64, protocolUDP
	src, dst := h.Source.First.As4(), h.Destination.First.As4()
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	binary.BigEndian.PutUint16(ip[10:], ^fold(sum16(ip[:ipv4Len], 0)))
	t.src, t.dst, t.udp = ethernetLen+12, ethernetLen+16, ethernetLen+ipv4Len
}

func (t *template) fill6(f []byte, h *Headers) {
	binary.BigEndian.PutUint16(f[12:], typeIPv6)
	ip := f[ethernetLen:]
	ip[0] = 0x60
	binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-ipv6Len))
	ip[6], ip[7] = protocolUDP, 64
	src, dst := h.Source.First.As16(), h.Destination.First.As16()
	copy(ip[8:], src[:])
	copy(ip[24:], dst[:])
	t.src, t.dst = ethernetLen+8+2*h.Source.Group, ethernetLen+24+2*h.Destination.Group
	t.udp = ethernetLen + ipv6Len
}

func (t *template) pseudo(f []byte) uint64 {
	ip := f[ethernetLen:t.udp]
	if t.v6 {
		return pseudoSum(ip[8:24], ip[24:40], len(f)-t.udp)
	}
	return pseudoSum(ip[12:16], ip[16:20], len(f)-t.udp)
}

// place writes where the walks are.
func (t *template) place(src, dst *walk) {
	if !t.headerSums {
		return
	}
	t.address(t.src, src.at)
	t.address(t.dst, dst.at)
	t.put16(t.udp, src.port)
	t.put16(t.udp+2, dst.port)
}

// address writes the counted part of an address: 32 bits of IPv4, 16 of IPv6.
func (t *template) address(off int, v uint32) {
	if t.v6 {
		t.put16(off, uint16(v))
		return
	}
	t.put16Header(off, uint16(v>>16))
	t.put16Header(off+2, uint16(v))
}

// put16Header is put16 for a word of the IPv4 header, whose own checksum covers it too.
func (t *template) put16Header(off int, v uint16) {
	if old := binary.BigEndian.Uint16(t.frame[off:]); old != v {
		sum := t.frame[ethernetLen+10:]
		binary.BigEndian.PutUint16(sum, adjust(binary.BigEndian.Uint16(sum), old, v))
		t.put16(off, v)
	}
}

// put16 writes a word, at an even offset behind the Ethernet header, that the UDP checksum covers.
func (t *template) put16(off int, v uint16) {
	old := binary.BigEndian.Uint16(t.frame[off:])
	if old == v {
		return
	}
	sum := t.frame[t.udp+6:]
	binary.BigEndian.PutUint16(sum, adjust(binary.BigEndian.Uint16(sum), old, v))
	binary.BigEndian.PutUint16(t.frame[off:], v)
}

// put32 is put16 for two words.
func (t *template) put32(off int, v uint32) {
	t.put16(off, uint16(v>>16))
	t.put16(off+2, uint16(v))
}

// payload is the offset of the payload.
func (t *template) payload() int { return t.udp + udpLen }
