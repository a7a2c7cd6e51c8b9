package pcapfilter

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/bpf"
)

// directed joins what is said of the source and of the destination.
func (q qualifiers) directed(source, destination expr) expr {
	switch q.dir {
	case src:
		return source
	case dst:
		return destination
	case srcAndDst:
		return both{source, destination}
	}
	return either{source, destination}
}

// host is an IP or Ethernet address.
func (p *parser) host(q qualifiers, w string) (expr, error) {
	if q.proto == "ether" {
		mac, err := net.ParseMAC(w)
		if err != nil || len(mac) != 6 {
			return nil, fmt.Errorf("%q is not an Ethernet address", w)
		}
		return q.directed(isMAC(6, [6]byte(mac)), isMAC(0, [6]byte(mac))), nil
	}
	a, err := netip.ParseAddr(w)
	if err != nil || a.Zone() != "" {
		return nil, fmt.Errorf("%q is not an address", w)
	}
	return p.prefix(q, netip.PrefixFrom(a, a.BitLen()))
}

func isMAC(off uint32, mac [6]byte) expr {
	return both{
		equal(field{from: frame, off: off + 2, size: 4}, binary.BigEndian.Uint32(mac[2:])),
		equal(field{from: frame, off: off, size: 2}, uint32(binary.BigEndian.Uint16(mac[:]))),
	}
}

// net is "10.0.0.0/8", "10", "10.0.0.0 mask 255.0.0.0" or an IPv6 prefix.
func (p *parser) net(q qualifiers, w string) (expr, error) {
	prefix, err := parseNet(w)
	if err == nil && p.take("mask") {
		prefix, err = withMask(prefix, p.next())
	}
	if err != nil {
		return nil, err
	}
	if prefix.Masked() != prefix {
		return nil, fmt.Errorf("%s has bits beyond its length", prefix)
	}
	return p.prefix(q, prefix)
}

func parseNet(w string) (netip.Prefix, error) {
	address, bits, long := strings.Cut(w, "/")
	parts := strings.Count(address, ".") + 1
	if !strings.Contains(address, ":") && parts < 4 { // a short one has the length it shows
		address += strings.Repeat(".0", 4-parts)
		if !long {
			bits = strconv.Itoa(8 * parts)
		}
	}
	a, err := netip.ParseAddr(address)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is not a network", w)
	}
	if bits == "" && !long {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	n, err := strconv.ParseUint(bits, 10, 8)
	if err != nil || int(n) > a.BitLen() {
		return netip.Prefix{}, fmt.Errorf("%q has no length of a network", w)
	}
	return netip.PrefixFrom(a, int(n)), nil
}

func withMask(p netip.Prefix, w string) (netip.Prefix, error) {
	m, err := netip.ParseAddr(w)
	if err != nil || !m.Is4() || !p.Addr().Is4() {
		return p, fmt.Errorf("%q is not a mask", w)
	}
	b := m.As4()
	ones, bits := net.IPMask(b[:]).Size()
	if bits == 0 {
		return p, fmt.Errorf("mask %s has holes", w)
	}
	return netip.PrefixFrom(p.Addr(), ones), nil
}

// prefix is about the addresses of IP and, for IPv4, of ARP and RARP.
func (p *parser) prefix(q qualifiers, n netip.Prefix) (expr, error) {
	if n.Addr().Is6() {
		if q.proto != "" && q.proto != "ip6" {
			return nil, fmt.Errorf("%s is of IPv6, not of %s", n, q.proto)
		}
		return both{p.isType("ip6"), q.directed(p.inNet6(22, n), p.inNet6(38, n))}, nil
	}
	ip := both{p.isType("ip"), q.directed(p.inNet4(26, n), p.inNet4(30, n))}
	arp := q.directed(p.inNet4(28, n), p.inNet4(38, n))
	switch q.proto {
	case "":
		return either{ip, both{either{p.isType("arp"), p.isType("rarp")}, arp}}, nil
	case "ip":
		return ip, nil
	case "arp", "rarp":
		return both{p.isType(q.proto), arp}, nil
	}
	return nil, fmt.Errorf("%s has no addresses", q.proto)
}

func (p *parser) inNet4(off uint32, n netip.Prefix) expr {
	b := n.Addr().As4()
	return p.word(off, b[:], n.Bits())
}

// inNet6 compares the words from the last to the first, as libpcap does.
func (p *parser) inNet6(off uint32, n netip.Prefix) expr {
	b := n.Addr().As16()
	e := p.word(off+12, b[12:], n.Bits()-96)
	for i := 8; i >= 0; i -= 4 {
		e = both{e, p.word(off+uint32(i), b[i:], n.Bits()-8*i)}
	}
	return e
}

// word compares the first bits of the four bytes at off.
func (p *parser) word(off uint32, b []byte, bits int) expr {
	if bits <= 0 {
		return everything{}
	}
	t := test{p.tagged(off, 4), 0, bpf.JumpEqual, binary.BigEndian.Uint32(b)}
	if bits < 32 {
		t.mask = ^uint32(0) << (32 - bits)
	}
	return t
}

// proto is a number or name after "proto".
func (p *parser) proto(q qualifiers, w string) (expr, error) {
	w = strings.TrimPrefix(w, `\`)
	if q.proto == "ether" {
		if etherTypes[w] != 0 {
			return p.isType(w), nil
		}
		n, err := number(w, 16)
		if err == nil && n <= 1500 {
			err = fmt.Errorf("EtherType %d: above 1500 (LLC is not supported)", n)
		}
		return equal(p.tagged(12, 2), n), err
	}
	n := protocols[w].number
	if n == 0 {
		var err error
		if n, err = number(w, 8); err != nil {
			return nil, err
		}
	}
	switch q.proto {
	case "":
		return either{p.ip4(n), p.ip6(n)}, nil
	case "ip":
		return p.ip4(n), nil
	case "ip6":
		return p.ip6(n), nil
	}
	return nil, fmt.Errorf("%s carries no protocols", q.proto)
}

// port is "80", or "80-90" for a range, of TCP, UDP and SCTP or one of them.
func (p *parser) port(q qualifiers, w string) (expr, error) {
	low, high, isRange := strings.Cut(w, "-")
	if !isRange {
		high = low
	}
	from, err := number(low, 16)
	if err != nil {
		return nil, err
	}
	to, err := number(high, 16)
	if err != nil {
		return nil, err
	}
	if isRange && q.kind == "port" {
		return nil, fmt.Errorf("%q is no port", w)
	}
	if from > to {
		from, to = to, from
	}
	return p.ports(q, from, to)
}

func (p *parser) ports(q qualifiers, from, to uint32) (expr, error) {
	carriers := []uint32{132, 6, 17}
	if q.proto != "" {
		if q.proto != "tcp" && q.proto != "udp" && q.proto != "sctp" {
			return nil, fmt.Errorf("%s has no ports", q.proto)
		}
		carriers = []uint32{protocols[q.proto].number}
	}
	within := func(f field) expr {
		if from == to {
			return equal(f, from)
		}
		return both{test{f, 0, bpf.JumpGreaterOrEqual, from}, test{f, 0, bpf.JumpLessOrEqual, to}}
	}
	four := func(off uint32) field { return field{transport, off, 2, p.vlans} }
	carried := func(f field) expr {
		e := equal(f, carriers[0])
		for _, n := range carriers[1:] {
			e = either{e, equal(f, n)}
		}
		return e
	}
	v6 := all(p.isType("ip6"), carried(p.tagged(20, 1)), q.directed(within(p.tagged(54, 2)), within(p.tagged(56, 2))))
	v4 := all(p.isType("ip"), carried(p.tagged(23, 1)), p.firstFragment(), q.directed(within(four(0)), within(four(2))))
	return either{v6, v4}, nil
}

func (p *parser) firstFragment() expr {
	return negated{test{p.tagged(20, 2), 0, bpf.JumpBitsSet, 0x1fff}}
}
