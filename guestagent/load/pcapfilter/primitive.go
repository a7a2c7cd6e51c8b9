package pcapfilter

import (
	"fmt"
	"strconv"

	"golang.org/x/net/bpf"
)

// Directions of a qualifier.
const (
	srcOrDst = iota
	src
	dst
	srcAndDst
)

// qualifiers say what an identifier is.
type qualifiers struct {
	proto string // "", or a name of protocols
	dir   int
	kind  string // "", host, net, port, portrange, proto
}

// EtherTypes (IEEE 802) and IP protocol numbers (IANA) by their names. The IP versions that carry a protocol are those
// that libpcap looks at.
var (
	etherTypes = map[string]uint32{"ip": 0x0800, "ip6": 0x86dd, "arp": 0x0806, "rarp": 0x8035}
	protocols  = map[string]struct {
		number uint32
		v4, v6 bool
	}{
		"tcp": {6, true, true}, "udp": {17, true, true}, "sctp": {132, true, true}, "icmp": {1, true, false}, "icmp6": {58, false, true},
		"igmp": {2, true, false}, "ah": {51, true, true}, "esp": {50, true, true}, "pim": {103, true, true}, "vrrp": {112, true, false},
	}
)

func isProtocol(w string) bool { return protocols[w].number != 0 || etherTypes[w] != 0 || w == "ether" }

// primitive is one test. Its qualifiers hold for an identifier alone that follows it.
func (p *parser) primitive(q qualifiers) (expr, qualifiers, error) {
	switch w := p.peek(); {
	case w == "":
		return nil, q, fmt.Errorf("ends where a primitive should be")
	case w == "vlan":
		p.next()
		e, err := p.vlan()
		return e, q, err
	case w == "inbound" || w == "outbound":
		p.next()
		return p.direction(w), q, nil
	case w == "less" || w == "greater" || w == "len":
		p.next()
		e, err := p.size(w)
		return e, q, err
	case w == "broadcast" || w == "multicast":
		p.next()
		return etherGroup(w), q, nil
	case isProtocol(w) && len(p.words) > 1 && p.words[1] == "[":
		e, err := p.relation()
		return e, q, err
	case p.startsQualified(w):
		q = p.qualifiers()
	}
	e, err := p.identifier(q)
	return e, q, err
}

func (p *parser) startsQualified(w string) bool {
	return isProtocol(w) || w == "src" || w == "dst" || isKind(w)
}

func isKind(w string) bool {
	return w == "host" || w == "net" || w == "port" || w == "portrange" || w == "proto"
}

// qualifiers reads PROTO, DIR and kind.
func (p *parser) qualifiers() (q qualifiers) {
	if isProtocol(p.peek()) {
		q.proto = p.next()
	}
	if w := p.peek(); w == "src" || w == "dst" {
		p.next()
		q.dir = map[string]int{"src": src, "dst": dst}[w]
		if len(p.words) > 1 && (p.words[0] == "or" || p.words[0] == "and") && w == "src" && p.words[1] == "dst" {
			q.dir = map[string]int{"or": srcOrDst, "and": srcAndDst}[p.words[0]]
			p.words = p.words[2:]
		}
		q.kind = "host"
	}
	if isKind(p.peek()) {
		q.kind = p.next()
	}
	return q
}

// identifier is what qualifiers are followed by: an address and so on, several of them in parentheses, or nothing when
// they are a protocol alone.
func (p *parser) identifier(q qualifiers) (expr, error) {
	w := p.peek()
	switch {
	case q.proto != "" && q.kind == "" && (q.proto != "ether" || w == "broadcast" || w == "multicast"):
		return p.protocol(q)
	case w == "(":
		p.next()
		return p.group(q)
	case w == "" || isSign(w) || isProtocol(w) && q.kind != "proto":
		return nil, fmt.Errorf("%q where an address or a number should be", w)
	}
	p.next()
	switch q.kind {
	case "port", "portrange":
		return p.port(q, w)
	case "proto":
		return p.proto(q, w)
	case "net":
		return p.net(q, w)
	}
	return p.host(q, w)
}

func isSign(w string) bool { return sign(w) > 0 || w == "and" || w == "or" || w == "not" }

// protocol is a protocol's name, alone or before "multicast" and "broadcast".
func (p *parser) protocol(q qualifiers) (expr, error) {
	group := p.peek()
	switch {
	case group == "multicast" && q.proto == "ip":
		p.next()
		return both{p.isType("ip"), test{p.tagged(30, 1), 0, bpf.JumpGreaterOrEqual, 224}}, nil
	case group == "multicast" && q.proto == "ip6":
		p.next()
		return both{p.isType("ip6"), equal(p.tagged(38, 1), 255)}, nil
	case (group == "multicast" || group == "broadcast") && q.proto == "ether":
		p.next()
		return etherGroup(group), nil
	case etherTypes[q.proto] != 0:
		return p.isType(q.proto), nil
	}
	return p.isProtocol(q.proto), nil
}

func etherGroup(w string) expr {
	if w == "multicast" {
		return test{field{from: frame, off: 0, size: 1}, 0, bpf.JumpBitsSet, 1}
	}
	return isMAC(0, [6]byte{255, 255, 255, 255, 255, 255})
}

// tagged is a field behind the tags named so far.
func (p *parser) tagged(off uint32, size int) field { return field{tagged, off, size, p.vlans} }

func (p *parser) isType(name string) expr { return equal(p.tagged(12, 2), etherTypes[name]) }

// isProtocol is an IP protocol in the versions that carry it.
func (p *parser) isProtocol(name string) expr {
	t := protocols[name]
	switch {
	case !t.v6:
		return p.ip4(t.number)
	case !t.v4:
		return p.ip6(t.number)
	}
	return either{p.ip4(t.number), p.ip6(t.number)}
}

func (p *parser) ip4(number uint32) expr { return both{p.isType("ip"), equal(p.tagged(23, 1), number)} }

// ip6 looks at the next header, and past a fragment header.
func (p *parser) ip6(number uint32) expr {
	next := p.tagged(20, 1)
	return both{p.isType("ip6"), either{equal(next, number), both{equal(next, 44), equal(p.tagged(54, 1), number)}}}
}

func (p *parser) vlan() (expr, error) {
	v := vlan{-1, p.vlans}
	p.vlans++
	if n, err := strconv.ParseUint(p.peek(), 0, 32); err == nil {
		if n > 4095 {
			return nil, fmt.Errorf("VLAN %d: at most 4095", n)
		}
		v.id = int(n)
		p.next()
	}
	return v, nil
}

// direction is known by the kernel's packet type, PACKET_OUTGOING (packet(7)).
func (p *parser) direction(w string) expr {
	const outgoing = 4
	p.live = true
	e := expr(extension{bpf.ExtType, 0, outgoing})
	if w == "inbound" {
		e = negated{e}
	}
	return e
}

// size is about the frame's length.
func (p *parser) size(w string) (expr, error) {
	f := field{from: length}
	if w == "len" {
		return p.compare(f, 0)
	}
	n, err := number(p.next(), 32)
	if w == "greater" {
		return test{f, 0, bpf.JumpGreaterOrEqual, n}, err
	}
	return test{f, 0, bpf.JumpLessOrEqual, n}, err
}

func number(w string, bits int) (uint32, error) {
	n, err := strconv.ParseUint(w, 0, bits)
	if err != nil {
		return 0, fmt.Errorf("%q where a number of %d bits should be", w, bits)
	}
	return uint32(n), nil
}
