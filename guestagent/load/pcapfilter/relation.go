package pcapfilter

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/net/bpf"
)

// names are the constants of pcap-filter(7).
var names = map[string]uint32{
	"tcpflags": 13, "icmptype": 0, "icmpcode": 1, "icmp6type": 0, "icmp6code": 1,
	"tcp-fin": 1, "tcp-syn": 2, "tcp-rst": 4, "tcp-push": 8, "tcp-ack": 16, "tcp-urg": 32, "tcp-ece": 64, "tcp-cwr": 128,
	"icmp-echoreply": 0, "icmp-unreach": 3, "icmp-sourcequench": 4, "icmp-redirect": 5, "icmp-echo": 8,
	"icmp-routeradvert": 9, "icmp-routersolicit": 10, "icmp-timxceed": 11, "icmp-paramprob": 12, "icmp-tstamp": 13,
	"icmp-tstampreply": 14, "icmp-ireq": 15, "icmp-ireqreply": 16, "icmp-maskreq": 17, "icmp-maskreply": 18,
	"icmp6-destinationunreach": 1, "icmp6-packettoobig": 2, "icmp6-timeexceeded": 3, "icmp6-parameterproblem": 4,
	"icmp6-echo": 128, "icmp6-echoreply": 129, "icmp6-routersolicit": 133, "icmp6-routeradvert": 134,
	"icmp6-neighborsolicit": 135, "icmp6-neighboradvert": 136, "icmp6-redirect": 137,
}

// relation is WHERE[OFFSET:SIZE] & MASK RELATION VALUE.
func (p *parser) relation() (expr, error) {
	where := p.next()
	p.next() // the bracket
	off, size, err := p.bracket()
	if err != nil {
		return nil, err
	}
	f, guard, err := p.where(where, off, size)
	if err != nil {
		return nil, err
	}
	var mask uint32
	if p.take("&") {
		if mask, err = p.value(); err != nil {
			return nil, err
		}
		if mask == 0 {
			return nil, fmt.Errorf("mask 0 leaves nothing")
		}
	}
	e, err := p.compare(f, mask)
	if err != nil || guard == nil {
		return e, err
	}
	return both{guard, e}, nil
}

// bracket is OFFSET:SIZE], which split took for one word or two.
func (p *parser) bracket() (off uint32, size int, err error) {
	at, width, wide := strings.Cut(p.next(), ":")
	var known bool
	if off, known = names[at]; !known {
		if off, err = number(at, 16); err != nil {
			return 0, 0, err
		}
	}
	size = 1
	if wide {
		if width == "" {
			width = p.next()
		}
		if size, err = strconv.Atoi(width); err != nil || size != 1 && size != 2 && size != 4 {
			return 0, 0, fmt.Errorf("size %q: only 1, 2 and 4", width)
		}
	}
	if !p.take("]") {
		return 0, 0, fmt.Errorf("%q where \"]\" should be", p.peek())
	}
	return off, size, nil
}

// where finds the field, and what must hold for it to be there.
func (p *parser) where(name string, off uint32, size int) (field, expr, error) {
	switch name {
	case "ether":
		return field{from: frame, off: off, size: size}, nil, nil
	case "ip", "ip6", "arp", "rarp":
		return p.tagged(14+off, size), p.isType(name), nil
	case "icmp6":
		return p.tagged(54+off, size), both{p.isType("ip6"), equal(p.tagged(20, 1), 58)}, nil
	case "tcp", "udp", "sctp", "icmp", "igmp":
		return field{transport, off, size, p.vlans}, both{p.ip4(protocols[name].number), p.firstFragment()}, nil
	}
	return field{}, nil, fmt.Errorf("%s[] is not supported", name)
}

// compare reads a relation and a value.
func (p *parser) compare(f field, mask uint32) (expr, error) {
	sign := p.next()
	is, ok := map[string]bpf.JumpTest{
		"=": bpf.JumpEqual, "==": bpf.JumpEqual, "!=": bpf.JumpNotEqual, "<": bpf.JumpLessThan, "<=": bpf.JumpLessOrEqual,
		">": bpf.JumpGreaterThan, ">=": bpf.JumpGreaterOrEqual,
	}[sign]
	if !ok {
		return nil, fmt.Errorf("%q where a relation should be", sign)
	}
	v, err := p.value()
	return test{f, mask, is, v}, err
}

// value is a number or name, or several with "|" between them.
func (p *parser) value() (v uint32, err error) {
	if p.take("(") {
		if v, err = p.value(); err == nil && !p.take(")") {
			err = fmt.Errorf("%q where \")\" should be", p.peek())
		}
	} else if n, ok := names[p.peek()]; ok {
		p.next()
		v = n
	} else {
		v, err = number(p.next(), 32)
	}
	if err == nil && p.take("|") {
		var rest uint32
		rest, err = p.value()
		v |= rest
	}
	return v, err
}
