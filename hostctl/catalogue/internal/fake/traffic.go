package fake

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/load/pcapng"
	"picolab/guestagent/wire"
	"picolab/hostctl/catalogue"
)

// headers is what IPv4 and ICMP add to an echo request's payload.
const headers = 28

// PingHost implements catalogue.Agent: all requests arrive, or none.
func (n *node) PingHost(_ context.Context, o client.PingOptions) (client.PingStats, error) {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	s := client.PingStats{Sent: max(int64(o.Count), 1), AchievedInterval: o.Interval, RTTAvg: time.Millisecond}
	if n.tooLong(o) {
		s.Refused, s.RefusedError, s.RefusedErrno = s.Sent, "message too long", syscall.EMSGSIZE
		return s, nil
	}
	if n.lab.reaches(n, o, int(s.Sent)) {
		s.Received = s.Sent
	}
	if f := n.lab.Faults; o.Size > 16<<10 && (f.Cut || f.Crowded && o.Interval < 10*time.Millisecond) {
		s.Received, s.RTTMax = min(2, s.Sent), 20*time.Millisecond
	}
	if o.Count >= longPing {
		s.Received -= s.Received * int64(n.lab.Faults.Flappy) / 100
	}
	if o.Flood {
		n.lab.oops()
	}
	return s, nil
}

// longPing is the count from which on a ping is one of those that a bond loses some of.
const longPing = 100

// tooLong reports whether the endpoint's own kernel refuses to send a request.
func (n *node) tooLong(o client.PingOptions) bool {
	if o.Size > wire.MaxEcho {
		return !n.lab.Faults.Oversized
	}
	l := n.outlet(o.Target)
	return l != nil && o.DontFragment && o.Size+headers > int(l.Mtu) && !n.lab.Faults.LongFrames
}

// outlet is the link by which the endpoint reaches an address.
func (n *node) outlet(to netip.Addr) *wire.Link {
	for _, l := range n.links {
		if slices.ContainsFunc(l.Addresses, func(a string) bool {
			p, err := netip.ParsePrefix(a)
			return err == nil && p.Contains(to)
		}) {
			return l
		}
	}
	return nil
}

// reaches reports whether echo requests and their replies arrive, and shows them.
func (l *Lab) reaches(from *node, o client.PingOptions, count int) bool {
	if l.Faults.Loss != nil && l.Faults.Loss(o.Size) {
		return false
	}
	out := from.outlet(o.Target)
	for _, g := range append(slices.Clone(l.guests), l.host) {
		if g.moves > 0 && l.Faults.LoseMoved {
			continue
		}
		for _, link := range g.links {
			if !has(link, o.Target) || !g.carries(link, o) {
				continue
			}
			if link.VlanId != 0 && !l.Faults.LeakVLANs && !from.member(link.VlanId) {
				continue
			}
			for range min(count, maxShown) {
				l.answered(out, link, g.wireMAC[link.Name], o)
			}
			return true
		}
	}
	if out != nil {
		l.ask(out)
	}
	return false
}

// maxShown is how many requests of a ping captures see at most.
const maxShown = 10

// answered shows a request and the reply to it, which comes from the address mac.
func (l *Lab) answered(out, to *wire.Link, mac string, o client.PingOptions) {
	if out == nil {
		out = l.host.links[0]
	}
	source := netip.IPv4Unspecified()
	if p, err := netip.ParsePrefix(out.Addresses[0]); err == nil {
		source = p.Addr()
	}
	l.echo(l.header(mac, out.Mac, out.VlanId, etherIPv4), source, o.Target, o.Size, int(out.Mtu))
	l.echo(l.header(out.Mac, mac, to.VlanId, etherIPv4), o.Target, source, o.Size, int(to.Mtu))
}

func has(l *wire.Link, addr netip.Addr) bool {
	return slices.ContainsFunc(l.Addresses, func(a string) bool {
		p, err := netip.ParsePrefix(a)
		return err == nil && p.Addr() == addr
	})
}

// carries reports whether a link passes a packet of the size in one piece, if it
// must not be fragmented.
func (n *node) carries(l *wire.Link, o client.PingOptions) bool {
	if !l.Up || n.dead[l.Name] {
		return false
	}
	mtu := l.Mtu
	if n.lab.Faults.ShortMTU {
		mtu = min(mtu, 1400)
	}
	return !o.DontFragment || o.Size+headers <= int(mtu)
}

// member reports whether the endpoint is in a VLAN.
func (n *node) member(id int32) bool {
	return slices.ContainsFunc(n.links, func(l *wire.Link) bool { return l.VlanId == id })
}

// oops has the guests' kernels say what the fault asks for.
func (l *Lab) oops() {
	for _, g := range l.guests {
		if l.Faults.Oops != "" && len(g.dmesg) == 0 {
			g.dmesg = append(g.dmesg, "[    9.000000] "+l.Faults.Oops)
		}
	}
}

// Record implements catalogue.Agent.
func (n *node) Record(_ context.Context, o client.CaptureOptions) (func(context.Context) (client.CaptureStats, error), error) {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	w, err := pcapng.NewWriter(o.Writer, o.Link, o.Snaplen)
	if err != nil {
		return nil, err
	}
	c := &capture{n: n, w: w, filter: o.Filter}
	n.lab.captures = append(n.lab.captures, c)
	return func(context.Context) (client.CaptureStats, error) {
		n.lab.mu.Lock()
		defer n.lab.mu.Unlock()
		n.lab.captures = slices.DeleteFunc(n.lab.captures, func(x *capture) bool { return x == c })
		return c.stats, w.Close(uint64(c.stats.Packets), 0)
	}, nil
}

// transfer is a sink and what it received.
type transfer struct {
	done chan struct{}
	got  client.Transfer
}

// Receive implements catalogue.Agent.
func (n *node) Receive(context.Context, client.SinkOptions) (netip.AddrPort, func(context.Context) (client.Transfer, error), error) {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	port := uint16(5000 + len(n.lab.sinks))
	t := &transfer{done: make(chan struct{})}
	n.lab.sinks[port] = t
	return netip.AddrPortFrom(netip.IPv4Unspecified(), port), t.wait, nil
}

func (t *transfer) wait(ctx context.Context) (client.Transfer, error) {
	select {
	case <-t.done:
		return t.got, nil
	case <-ctx.Done():
		return client.Transfer{}, wire.Classify(ctx.Err())
	}
}

// Source implements catalogue.Agent.
func (n *node) Source(_ context.Context, o client.SourceOptions) (client.Transfer, error) {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	t := n.lab.sinks[o.Target.Port()]
	sent := client.Transfer{Bytes: o.Bytes, SHA256: fmt.Sprintf("%064x", o.Seed), Complete: true, Seconds: 1}
	t.got = sent
	if n.lab.Faults.Corrupt {
		t.got.SHA256 = fmt.Sprintf("%064x", o.Seed+1)
	}
	if n.lab.Faults.Lossy && o.Network == "udp" {
		t.got.Lost, t.got.Complete, t.got.SHA256, t.got.Bytes = 1, false, "", o.Bytes-1
	}
	n.count(o.Bytes)
	close(t.done)
	return sent, nil
}

// count has the counters and the captures see what a stream sent.
func (n *node) count(bytes int64) {
	if len(n.links) == 0 {
		return
	}
	largest := n.segment(n.links[0])
	if n.sent == nil {
		n.sent = map[string]uint64{}
	}
	n.sent["tx_bytes"] += uint64(bytes)
	n.sent["tx_packets"] += uint64(1 + bytes/largest)
	for _, c := range n.lab.captures {
		if c.n == n {
			c.stats = client.CaptureStats{Packets: 1 + bytes/largest, Bytes: bytes, Largest: largest}
		}
	}
}

var _ catalogue.Agent = (*node)(nil)
