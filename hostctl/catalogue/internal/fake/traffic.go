package fake

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"picolab/guestagent/client"
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
	if o.Size > wire.MaxEcho && !n.lab.Faults.Oversized {
		s.Refused, s.RefusedError, s.RefusedErrno = s.Sent, "message too long", syscall.EMSGSIZE
		return s, nil
	}
	if n.lab.reaches(n, o) {
		s.Received = s.Sent
	}
	if f := n.lab.Faults; o.Size > 16<<10 && (f.Cut || f.Crowded && o.Interval < 10*time.Millisecond) {
		s.Received, s.RTTMax = min(2, s.Sent), 20*time.Millisecond
	}
	if o.Flood {
		n.lab.oops()
	}
	return s, nil
}

// reaches reports whether an echo request and its reply arrive.
func (l *Lab) reaches(from *node, o client.PingOptions) bool {
	if l.Faults.Loss != nil && l.Faults.Loss(o.Size) {
		return false
	}
	for _, g := range l.guests {
		for _, link := range g.links {
			if !has(link, o.Target) || !g.carries(link, o) {
				continue
			}
			if link.VlanId != 0 && !l.Faults.LeakVLANs && !from.member(link.VlanId) {
				continue
			}
			l.capture(g.wireMAC[link.Name])
			return true
		}
	}
	return false
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

// capture is a running capture.
type capture struct {
	n      *node
	w      io.Writer
	filter string
	stats  client.CaptureStats
}

// capture writes the headers of a reply to all captures.
func (l *Lab) capture(from string) {
	to, _ := net.ParseMAC(l.host.links[0].Mac)
	src, _ := net.ParseMAC(from)
	for _, c := range l.captures {
		c.w.Write(append(slices.Clone(to), src...))
	}
}

// Record implements catalogue.Agent.
func (n *node) Record(_ context.Context, o client.CaptureOptions) (func(context.Context) (client.CaptureStats, error), error) {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	c := &capture{n: n, w: o.Writer, filter: o.Filter}
	n.lab.captures = append(n.lab.captures, c)
	return func(context.Context) (client.CaptureStats, error) {
		n.lab.mu.Lock()
		defer n.lab.mu.Unlock()
		n.lab.captures = slices.DeleteFunc(n.lab.captures, func(x *capture) bool { return x == c })
		return c.stats, nil
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
