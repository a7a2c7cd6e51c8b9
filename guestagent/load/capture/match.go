package capture

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
)

// EtherTypes (IEEE 802) and IP protocol numbers (IANA) of the filter's words.
var (
	etherTypes  = map[string]uint16{"arp": 0x0806, "ip": 0x0800, "ip6": 0x86dd}
	ipProtocols = map[string]byte{"icmp": 1, "tcp": 6, "udp": 17, "icmp6": 58}
)

func isTag(t uint16) bool { return t == 0x8100 || t == 0x88a8 || t == 0x9100 }

// network finds the EtherType and what follows it, past VLAN tags.
func (f *Frame) network() (uint16, []byte) {
	for off := 12; off+2 <= len(f.Data); off += 4 {
		t := binary.BigEndian.Uint16(f.Data[off:])
		if !isTag(t) {
			return t, f.Data[off+2:]
		}
	}
	return 0, nil
}

// packet is the network layer of an IP packet.
type packet struct {
	src, dst netip.Addr
	proto    byte
	payload  []byte // nil in a fragment other than the first
}

// ip takes an IPv4 or IPv6 packet apart; IPv6 extension headers are not followed.
func (f *Frame) ip() (packet, bool) {
	t, b := f.network()
	switch {
	case t == 0x0800 && len(b) >= 20:
		src, _ := netip.AddrFromSlice(b[12:16])
		dst, _ := netip.AddrFromSlice(b[16:20])
		p := packet{src: src, dst: dst, proto: b[9]}
		if h := int(b[0]&15) * 4; binary.BigEndian.Uint16(b[6:])&0x1fff == 0 && h >= 20 && h <= len(b) {
			p.payload = b[h:]
		}
		return p, true
	case t == 0x86dd && len(b) >= 40:
		src, _ := netip.AddrFromSlice(b[8:24])
		dst, _ := netip.AddrFromSlice(b[24:40])
		return packet{src: src, dst: dst, proto: b[6], payload: b[40:]}, true
	}
	return packet{}, false
}

func isType(want uint16) Filter {
	return func(f *Frame) bool {
		t, _ := f.network()
		return t == want
	}
}

func isProtocol(want byte) Filter {
	return func(f *Frame) bool {
		p, ok := f.ip()
		return ok && p.proto == want
	}
}

// hasPort matches TCP and UDP (proto 0), or one of them.
func hasPort(n uint16, src, dst bool, proto byte) Filter {
	return func(f *Frame) bool {
		p, ok := f.ip()
		if !ok || len(p.payload) < 4 || (proto != 0 && p.proto != proto) || (p.proto != 6 && p.proto != 17) {
			return false
		}
		return src && binary.BigEndian.Uint16(p.payload) == n || dst && binary.BigEndian.Uint16(p.payload[2:]) == n
	}
}

// hasHost matches IP packets, and ARP for IPv4 addresses.
func hasHost(a netip.Addr, src, dst bool) Filter {
	return func(f *Frame) bool {
		if t, b := f.network(); t == 0x0806 && a.Is4() && len(b) >= 28 {
			x := a.As4()
			return src && bytes.Equal(b[14:18], x[:]) || dst && bytes.Equal(b[24:28], x[:])
		}
		p, ok := f.ip()
		return ok && (src && p.src == a || dst && p.dst == a)
	}
}

func hasMAC(mac net.HardwareAddr, src, dst bool) Filter {
	return func(f *Frame) bool {
		return len(f.Data) >= 12 && (dst && bytes.Equal(f.Data[:6], mac) || src && bytes.Equal(f.Data[6:12], mac))
	}
}
