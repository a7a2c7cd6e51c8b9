package pktgen

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
)

// Range is the addresses and UDP ports of one side of the frames.
type Range struct {
	First, Last         netip.Addr
	Group               int // of an IPv6 address: the 16 bits that are counted, 0 to 7
	FirstPort, LastPort uint16
}

// defaultPort is the original's.
const defaultPort = 1234

// parseRange reads addr[:port][-addr[:port]] and, of IPv6, [group@]addr or [group@][addr]:port.
func parseRange(s string, v6 bool) (Range, error) {
	first, last, two := strings.Cut(s, "-")
	r := Range{Group: 7, FirstPort: defaultPort}
	var err error
	if r.First, r.FirstPort, err = r.parseEnd(first, v6, r.FirstPort); err != nil {
		return r, err
	}
	r.Last, r.LastPort = r.First, r.FirstPort
	if two {
		if r.Last, r.LastPort, err = r.parseEnd(last, v6, r.FirstPort); err != nil {
			return r, err
		}
	}
	return r.ordered()
}

// parseEnd reads one end; port is that of an end that names none.
func (r *Range) parseEnd(s string, v6 bool, port uint16) (netip.Addr, uint16, error) {
	if group, rest, ok := strings.Cut(s, "@"); ok && v6 {
		n, err := strconv.ParseUint(group, 0, 8)
		if err != nil || n > 7 {
			return netip.Addr{}, 0, fmt.Errorf("group %q: not a number from 0 to 7", group)
		}
		r.Group, s = int(n), rest
	}
	host, number := cutPort(s, v6)
	if number != "" {
		n, err := strconv.ParseUint(number, 0, 16)
		if err != nil {
			return netip.Addr{}, 0, fmt.Errorf("port %q: not a number from 0 to 65535", number)
		}
		port = uint16(n)
	}
	a, err := netip.ParseAddr(host)
	if err != nil || a.Is4() == v6 || a.Zone() != "" {
		return netip.Addr{}, 0, fmt.Errorf("%q is not an IPv%d address", host, map[bool]int{false: 4, true: 6}[v6])
	}
	return a, port, nil
}

// cutPort splits off a port, which an IPv6 address has only behind brackets.
func cutPort(s string, v6 bool) (host, port string) {
	if !v6 {
		host, port, _ = strings.Cut(s, ":")
		return host, port
	}
	if host, ok := strings.CutPrefix(s, "["); ok {
		host, port, _ = strings.Cut(host, "]")
		return host, strings.TrimPrefix(port, ":")
	}
	return s, ""
}

// ordered swaps what the original swaps, and refuses what it gets wrong: IPv6 ends that differ outside the group.
func (r Range) ordered() (Range, error) {
	if r.FirstPort > r.LastPort {
		r.FirstPort, r.LastPort = r.LastPort, r.FirstPort
	}
	if r.First.Compare(r.Last) > 0 {
		r.First, r.Last = r.Last, r.First
	}
	if r.First.Is6() {
		end := r.First.As16()
		last := r.Last.As16()
		copy(end[2*r.Group:2*r.Group+2], last[2*r.Group:])
		if end != last {
			return r, errors.New("the ends differ in more than the 16 bits of the group that is counted")
		}
	}
	return r, nil
}

// walk is where a sender is in a Range: a port and the bits of the address that change.
type walk struct {
	from, to, at uint32
	ports        [2]uint16
	port         uint16
	random       bool
}

func newWalk(r Range, random bool) walk {
	w := walk{from: counted(r.First, r.Group), to: counted(r.Last, r.Group), ports: [2]uint16{r.FirstPort, r.LastPort}, random: random}
	w.at, w.port = w.from, r.FirstPort
	return w
}

// counted is the part of an address that is counted.
func counted(a netip.Addr, group int) uint32 {
	if a.Is4() {
		b := a.As4()
		return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	}
	b := a.As16()
	return uint32(b[2*group])<<8 | uint32(b[2*group+1])
}

// still says that the walk never leaves its place.
func (w *walk) still() bool { return !w.random && w.from == w.to && w.ports[0] == w.ports[1] }

// next takes a step, ports first, and says whether the whole range has been walked, or the place was thrown by dice:
// then the other side of the frame steps too.
func (w *walk) next(rng *rand.PCG) (again bool) {
	if w.random {
		n := rng.Uint64()
		w.at, w.port = uint32(n), uint16(n>>32)
		return true
	}
	if w.port < w.ports[1] {
		w.port++
		return false
	}
	w.port = w.ports[0]
	if w.at < w.to {
		w.at++
		return false
	}
	w.at = w.from
	return true
}
