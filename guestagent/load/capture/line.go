package capture

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"picolab/guestagent/load/pcapng"
)

// Describe is a frame in a line: time, direction, addresses, kind and length. It looks through VLAN tags, and does not
// follow IPv6 extension headers.
func Describe(p pcapng.Packet) string {
	way := map[pcapng.Direction]string{pcapng.Inbound: "In ", pcapng.Outbound: "Out"}[p.Direction]
	return fmt.Sprintf("%s %s %s, length %d", p.Time.Format("15:04:05.000000"), way, describe(p.Data), p.Length)
}

func describe(b []byte) string {
	if len(b) < 14 {
		return "cut short"
	}
	addresses := fmt.Sprintf("%s > %s", net.HardwareAddr(b[6:12]), net.HardwareAddr(b[:6]))
	tags := ""
	for b = b[12:]; len(b) >= 4 && isTag(binary.BigEndian.Uint16(b)); b = b[4:] {
		tags += fmt.Sprintf(" vlan %d", binary.BigEndian.Uint16(b[2:])&0xfff)
	}
	if len(b) < 2 {
		return addresses + tags + " cut short"
	}
	kind := binary.BigEndian.Uint16(b)
	b = b[2:]
	switch {
	case kind == 0x0800 && len(b) >= 20:
		return fmt.Sprintf("%s%s IP %s", addresses, tags, packet(b[12:16], b[16:20], b[9], ip4Payload(b)))
	case kind == 0x86dd && len(b) >= 40:
		return fmt.Sprintf("%s%s IP6 %s", addresses, tags, packet(b[8:24], b[24:40], b[6], b[40:]))
	case kind == 0x0806 && len(b) >= 28:
		return fmt.Sprintf("%s%s ARP %s", addresses, tags, arp(b))
	}
	return fmt.Sprintf("%s%s ethertype 0x%04x", addresses, tags, kind)
}

func isTag(t uint16) bool { return t == 0x8100 || t == 0x88a8 || t == 0x9100 }

// ip4Payload is what follows the header, nil in fragments other than the first.
func ip4Payload(b []byte) []byte {
	h := int(b[0]&15) * 4
	if binary.BigEndian.Uint16(b[6:])&0x1fff != 0 || h < 20 || h > len(b) {
		return nil
	}
	return b[h:]
}

func packet(from, to []byte, proto byte, payload []byte) string {
	a, _ := netip.AddrFromSlice(from)
	b, _ := netip.AddrFromSlice(to)
	name := map[byte]string{1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 58: "ICMP6", 132: "SCTP"}[proto]
	if name == "" {
		name = fmt.Sprintf("protocol %d", proto)
	}
	if (proto == 6 || proto == 17 || proto == 132) && len(payload) >= 4 {
		return fmt.Sprintf("%s > %s %s", netip.AddrPortFrom(a, binary.BigEndian.Uint16(payload)),
			netip.AddrPortFrom(b, binary.BigEndian.Uint16(payload[2:])), name)
	}
	return fmt.Sprintf("%s > %s %s", a, b, name)
}

func arp(b []byte) string {
	from, _ := netip.AddrFromSlice(b[14:18])
	to, _ := netip.AddrFromSlice(b[24:28])
	if binary.BigEndian.Uint16(b[6:]) == 1 {
		return fmt.Sprintf("who has %s, tell %s", to, from)
	}
	return fmt.Sprintf("%s is at %s", from, net.HardwareAddr(b[8:14]))
}
