package pcapfilter

import (
	"encoding/binary"
	"net/netip"
)

// corpus is frames of every kind that a filter tells apart, by name.
func corpus() map[string][]byte {
	a4, b4, c4 := "10.0.0.1", "10.0.0.2", "192.168.1.77"
	a6, b6 := "2001:db8::1", "fe80::2"
	frames := map[string][]byte{
		"arp":         ether(0x0806, arp(a4, b4)),
		"rarp":        ether(0x8035, arp(b4, a4)),
		"tcp syn":     ether(0x0800, ip4(6, 0, 0, a4, b4, tcp(1234, 80, 2))),
		"tcp synack":  ether(0x0800, ip4(6, 0, 0, b4, a4, tcp(80, 1234, 18))),
		"tcp fin":     ether(0x0800, ip4(6, 0, 0, a4, c4, tcp(443, 2000, 17))),
		"tcp options": ether(0x0800, ip4(6, 12, 0, a4, b4, tcp(1234, 80, 16))),
		"udp":         ether(0x0800, ip4(17, 0, 0, a4, b4, udp(5353, 53, 30))),
		"udp long":    ether(0x0800, ip4(17, 0, 0, c4, "224.0.0.251", udp(53, 53, 1200))),
		"fragment":    ether(0x0800, ip4(17, 0, 185, a4, b4, udp(53, 80, 30))),
		"first part":  ether(0x0800, ip4(17, 0, 0x2000, a4, b4, udp(53, 80, 30))),
		"icmp":        ether(0x0800, ip4(1, 0, 0, a4, b4, append([]byte{8, 0, 0, 0}, make([]byte, 30)...))),
		"to itself":   ether(0x0800, ip4(17, 0, 0, a4, a4, udp(53, 53, 30))),
		"icmp reply":  ether(0x0800, ip4(1, 0, 0, b4, a4, append([]byte{0, 0, 0, 0}, make([]byte, 30)...))),
		"igmp":        ether(0x0800, ip4(2, 4, 0, a4, "224.0.0.1", make([]byte, 30))),
		"sctp":        ether(0x0800, ip4(132, 0, 0, a4, b4, udp(80, 9, 30))),
		"esp":         ether(0x0800, ip4(50, 0, 0, a4, b4, make([]byte, 40))),
		"tcp6":        ether(0x86dd, ip6(6, a6, b6, tcp(1234, 80, 2))),
		"udp6":        ether(0x86dd, ip6(17, b6, a6, udp(53, 2000, 40))),
		"icmp6":       ether(0x86dd, ip6(58, a6, "ff02::1", append([]byte{135, 0, 0, 0}, make([]byte, 30)...))),
		"frag6":       ether(0x86dd, ip6(44, a6, b6, append([]byte{6, 0, 0, 0, 0, 0, 0, 1}, tcp(80, 1, 2)...))),
		"lldp":        ether(0x88cc, make([]byte, 60)),
		"llc":         ether(38, make([]byte, 46)),
		"runt":        ether(0x0800, []byte{0x45, 0, 0}),
		"cut tcp":     ether(0x0800, ip4(6, 0, 0, a4, b4, tcp(1234, 80, 2)))[:36],
		"empty":       {},
	}
	broadcast := ether(0x0806, arp(c4, a4))
	copy(broadcast, []byte{255, 255, 255, 255, 255, 255})
	frames["broadcast"] = broadcast
	for _, name := range []string{"arp", "tcp syn", "udp", "icmp6", "tcp options"} {
		frames[name+" in vlan 10"] = tag(0x8100, 10, frames[name])
		frames[name+" in vlan 3000"] = tag(0x88a8, 3000, frames[name])
		frames[name+" in vlan 10 in 7"] = tag(0x88a8, 7, tag(0x8100, 10, frames[name]))
	}
	return frames
}

func ether(kind uint16, payload []byte) []byte {
	b := []byte{0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9}
	return append(binary.BigEndian.AppendUint16(b, kind), payload...)
}

func tag(kind, id uint16, frame []byte) []byte {
	b := append([]byte{}, frame[:12]...)
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint16(b, id|0x2000)
	return append(b, frame[12:]...)
}

func ip4(proto byte, options int, fragment uint16, from, to string, payload []byte) []byte {
	b := make([]byte, 20+options)
	b[0], b[8], b[9] = 0x45+byte(options/4), 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+len(payload)))
	binary.BigEndian.PutUint16(b[6:], fragment)
	copy(b[12:], netip.MustParseAddr(from).AsSlice())
	copy(b[16:], netip.MustParseAddr(to).AsSlice())
	return append(b, payload...)
}

func ip6(next byte, from, to string, payload []byte) []byte {
	b := make([]byte, 8, 40)
	b[0], b[6], b[7] = 0x60, next, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	b = append(append(b, netip.MustParseAddr(from).AsSlice()...), netip.MustParseAddr(to).AsSlice()...)
	return append(b, payload...)
}

func arp(from, to string) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9}
	b = append(b, netip.MustParseAddr(from).AsSlice()...)
	b = append(b, 0, 0, 0, 0, 0, 0)
	return append(append(b, netip.MustParseAddr(to).AsSlice()...), make([]byte, 18)...)
}

func tcp(from, to uint16, flags byte) []byte {
	b := make([]byte, 40)
	binary.BigEndian.PutUint16(b, from)
	binary.BigEndian.PutUint16(b[2:], to)
	b[12], b[13] = 0x50, flags
	return b
}

func udp(from, to uint16, n int) []byte {
	b := make([]byte, 8+n)
	binary.BigEndian.PutUint16(b, from)
	binary.BigEndian.PutUint16(b[2:], to)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	return b
}
