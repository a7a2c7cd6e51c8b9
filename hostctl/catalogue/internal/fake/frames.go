package fake

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"picolab/guestagent/client"
	"picolab/guestagent/load/pcapng"
	"picolab/guestagent/wire"
)

// EtherTypes.
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherVLAN = 0x8100
)

const (
	ipHeader   = 20
	icmpHeader = 8
	icmp       = 1 // protocol number
)

// capture is a running capture.
type capture struct {
	n      *node
	w      *pcapng.Writer
	filter string
	stats  client.CaptureStats
}

// take writes a frame.
func (c *capture) take(frame []byte) {
	if c.w.Write(pcapng.Packet{Data: frame, Length: len(frame)}) == nil {
		c.stats.Packets++
		c.stats.Bytes += int64(len(frame))
		c.stats.Largest = max(c.stats.Largest, int64(len(frame)))
	}
}

// show writes a frame to all captures.
func (l *Lab) show(frame []byte) {
	for _, c := range l.captures {
		c.take(frame)
	}
}

// header is an Ethernet header, with a link's tag if it has one.
func (l *Lab) header(to, from string, tag int32, kind uint16) []byte {
	dst, _ := net.ParseMAC(to)
	src, _ := net.ParseMAC(from)
	b := append(slices.Clone(dst), src...)
	if tag != 0 && !l.Faults.Untagged {
		b = binary.BigEndian.AppendUint16(b, etherVLAN)
		b = binary.BigEndian.AppendUint16(b, uint16(tag))
	}
	return binary.BigEndian.AppendUint16(b, kind)
}

// ask shows the ARP request for an address that a link is to reach.
func (l *Lab) ask(from *wire.Link) {
	l.show(append(l.header("ff:ff:ff:ff:ff:ff", from.Mac, from.VlanId, etherARP), make([]byte, 28)...))
}

// echo shows one echo request or reply of a size in as many fragments as an MTU makes of it.
func (l *Lab) echo(header []byte, from, to netip.Addr, size, mtu int) {
	if l.Faults.CutFrames {
		size /= 2
	}
	room := (mtu - ipHeader) &^ 7
	for rest, at := size+icmpHeader, 0; rest > 0; {
		n := min(rest, room)
		rest -= n
		l.show(append(slices.Clone(header), fragment(from, to, n, at, rest > 0)...))
		at += n
	}
}

// fragment is an IPv4 packet that carries a part of an ICMP message.
func fragment(from, to netip.Addr, n, at int, more bool) []byte {
	p := make([]byte, ipHeader+n)
	p[0], p[9] = 0x45, icmp
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	offset := uint16(at / 8)
	if more {
		offset |= 0x2000
	}
	binary.BigEndian.PutUint16(p[6:], offset)
	copy(p[12:], from.AsSlice())
	copy(p[16:], to.AsSlice())
	return p
}

// reassemble has the guest that a fragment is for count it when it ends past what a packet may have, or answer.
func (l *Lab) reassemble(frame []byte) {
	const header = 14
	if len(frame) < header+ipHeader || binary.BigEndian.Uint16(frame[12:]) != etherIPv4 {
		return
	}
	p := frame[header:]
	to, _ := netip.AddrFromSlice(p[16:20])
	end := 8*int(binary.BigEndian.Uint16(p[6:])&0x1fff) + len(p) - ipHeader
	for _, g := range l.guests {
		switch {
		case end+ipHeader <= 0xffff || g.outlet(to) == nil || !has(g.outlet(to), to):
		case l.Faults.Glued:
			from, _ := netip.AddrFromSlice(p[12:16])
			l.echo(l.header(hostMAC, g.links[0].Mac, 0, etherIPv4), to, from, 1, int(g.links[0].Mtu))
		default:
			g.unglued++
		}
	}
}
