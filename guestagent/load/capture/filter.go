package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"picolab/guestagent/load/pcapng"
)

// Filter decides about a frame. Its language is a subset of pcap-filter(7), with the same meaning: primitives joined by
// "and", each with an optional "not":
//
//	arp  ip  ip6  icmp  icmp6  tcp  udp  vlan [ID]
//	[tcp|udp] [src|dst] port N      [src|dst] host ADDRESS
//	ether multicast  ether broadcast  ether [src|dst] host MAC  ether [src|dst] MAC
//	greater N  less N  inbound  outbound
//
// As there, "vlan" does not shift what follows it here: other primitives look through a tag of a frame.
type Filter func(f *Frame) bool

// ErrFilter is a filter that cannot be understood.
var ErrFilter = errors.New("capture filter")

// Frame is what a filter looks at.
type Frame struct {
	Data      []byte // from the Ethernet header
	Length    int
	Direction pcapng.Direction
}

// Parse reads a filter; "" takes everything.
func Parse(expr string) (Filter, error) {
	p := &parser{words: strings.Fields(strings.ToLower(expr))}
	var all []Filter
	for more := len(p.words) > 0; more; {
		f, err := p.term()
		if err != nil {
			return nil, fmt.Errorf("%w %q: %w", ErrFilter, expr, err)
		}
		all = append(all, f)
		if more = len(p.words) > 0; more && !p.take("and") && !p.take("&&") {
			return nil, fmt.Errorf("%w %q: %q where \"and\" should be", ErrFilter, expr, p.words[0])
		}
	}
	return func(f *Frame) bool {
		for _, t := range all {
			if !t(f) {
				return false
			}
		}
		return true
	}, nil
}

type parser struct {
	words []string
}

func (p *parser) take(w string) bool {
	if len(p.words) == 0 || p.words[0] != w {
		return false
	}
	p.words = p.words[1:]
	return true
}

func (p *parser) next() string {
	if len(p.words) == 0 {
		return ""
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w
}

func (p *parser) term() (Filter, error) {
	if p.take("not") || p.take("!") {
		f, err := p.term()
		if err != nil {
			return nil, err
		}
		return func(fr *Frame) bool { return !f(fr) }, nil
	}
	switch w := p.next(); w {
	case "arp", "ip", "ip6":
		return isType(etherTypes[w]), nil
	case "icmp", "icmp6", "tcp", "udp":
		return p.protocol(w)
	case "vlan":
		return p.vlan(), nil
	case "ether":
		return p.ether()
	case "src", "dst", "port", "host":
		return p.endpoint(w, 0)
	case "greater", "less":
		return p.length(w)
	case "inbound", "outbound":
		return direction(w), nil
	default:
		return nil, fmt.Errorf("unknown primitive %q", w)
	}
}

func direction(w string) Filter {
	want := pcapng.Inbound
	if w == "outbound" {
		want = pcapng.Outbound
	}
	return func(f *Frame) bool { return f.Direction == want }
}

func (p *parser) length(w string) (Filter, error) {
	n, err := strconv.Atoi(p.next())
	if err != nil {
		return nil, err
	}
	if w == "greater" {
		return func(f *Frame) bool { return f.Length >= n }, nil
	}
	return func(f *Frame) bool { return f.Length <= n }, nil
}

// protocol is "tcp", or "tcp port 80" and the like.
func (p *parser) protocol(w string) (Filter, error) {
	is := isProtocol(ipProtocols[w])
	if len(p.words) == 0 || (p.words[0] != "src" && p.words[0] != "dst" && p.words[0] != "port") {
		return is, nil
	}
	return p.endpoint(p.next(), ipProtocols[w])
}

// endpoint is [src|dst] (port N | host A).
func (p *parser) endpoint(w string, proto byte) (Filter, error) {
	src, dst := w != "dst", w != "src"
	if w == "src" || w == "dst" {
		w = p.next()
	}
	switch w {
	case "port":
		n, err := strconv.ParseUint(p.next(), 10, 16)
		if err != nil {
			return nil, err
		}
		return hasPort(uint16(n), src, dst, proto), nil
	case "host":
		a, err := netip.ParseAddr(p.next())
		if err != nil {
			return nil, err
		}
		return hasHost(a, src, dst), nil
	}
	return nil, fmt.Errorf("%q where port or host should be", w)
}

// ether is multicast, broadcast, or [src|dst] [host] MAC.
func (p *parser) ether() (Filter, error) {
	w := p.next()
	switch w {
	case "multicast":
		return func(f *Frame) bool { return len(f.Data) > 0 && f.Data[0]&1 != 0 }, nil
	case "broadcast":
		return hasMAC(net.HardwareAddr{255, 255, 255, 255, 255, 255}, false, true), nil
	}
	src, dst := w != "dst", w != "src"
	if w == "src" || w == "dst" {
		w = p.next()
	}
	if w == "host" {
		w = p.next()
	}
	mac, err := net.ParseMAC(w)
	if err != nil {
		return nil, err
	}
	if len(mac) != 6 {
		return nil, fmt.Errorf("%s is not an Ethernet address", w)
	}
	return hasMAC(mac, src, dst), nil
}

// vlan is "vlan" or "vlan ID".
func (p *parser) vlan() Filter {
	id := -1
	if len(p.words) > 0 {
		if n, err := strconv.ParseUint(p.words[0], 10, 12); err == nil {
			id = int(n)
			p.next()
		}
	}
	return func(f *Frame) bool {
		if len(f.Data) < 16 || !isTag(binary.BigEndian.Uint16(f.Data[12:])) {
			return false
		}
		return id < 0 || int(binary.BigEndian.Uint16(f.Data[14:])&0xfff) == id
	}
}
