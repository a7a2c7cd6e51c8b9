package catalogue

import (
	"fmt"
	"net/netip"
	"time"

	"picolab/guestagent/client"
	"picolab/hostctl/lab"
	"picolab/hostctl/report"
)

// Widen has the guest's i-th card and the way to it take packets of that many bytes: the host's end, which other cards of
// the link may share, takes all, and what goes to the card is fragmented by its route.  The address is made known to the
// host, so that no packet waits for ARP.
func (t *T) Widen(guest *Node, i, mtu int) {
	host, card := t.Host(), guest.Card(i)
	bridge := t.Segment(card.Link).Bridge
	widest := host.widen(bridge)
	if card.Tap != "" {
		widest = min(widest, host.widen(card.Tap))
	}
	host.AddRoute(client.Route{Destination: netip.PrefixFrom(card.Addr.Addr(), 32), Link: bridge, MTU: min(mtu, widest)})
	host.AddNeigh(bridge, card.Addr.Addr(), card.MAC)
	name := guest.Link(i).Name
	guest.SetMTU(name, mtu)
	guest.AwaitUp(name)
}

// widen gives a link the largest MTU that its kind takes, and returns that: a tap's is 65521, for it counts the Ethernet
// header, a bridge's and a veth's 65535.
func (n *Node) widen(link string) (mtu int) {
	mtu = int(n.LinkNamed(link).MaxMtu)
	n.SetMTU(link, mtu)
	return mtu
}

// WidenModels widens the way to each card of [ThreeCards] to the parameter MODEL-mtu, and returns what each is to be flooded
// with, the parameters MODEL-sizes.
func (t *T) WidenModels(guest *Node) (sizes [][]int) {
	for i, model := range ThreeModels() {
		t.Widen(guest, i, t.Int(model+"-mtu"))
		sizes = append(sizes, t.Ints(model+"-sizes"))
	}
	return sizes
}

// FloodCards floods all cards of a guest at the same time, each with its own sizes one after the other, and returns what
// came of each, by card and size.  A flood ends with o's count, or after the duration that is divided among the sizes.
func (t *T) FloodCards(guest *Node, o client.PingOptions, sizes ...[]int) [][]client.PingStats {
	stats := make([][]client.PingStats, len(sizes))
	floods := make([]func(), len(sizes))
	for i := range sizes {
		floods[i] = func() { stats[i] = t.floodCard(guest.Card(i), o, sizes[i]) }
	}
	t.Together(floods...)
	return stats
}

func (t *T) floodCard(card Card, o client.PingOptions, sizes []int) []client.PingStats {
	o.Target, o.Flood = card.Addr.Addr(), true
	o.Duration /= time.Duration(len(sizes))
	if o.Count > 0 {
		o.Duration = t.Timeout(lab.WaitTransfer)
	}
	var all []client.PingStats
	for _, o.Size = range sizes {
		s := t.Host().Ping(o)
		t.Logf("flood of %s with %d bytes: %d sent, %s", card.Model, o.Size, s.Sent, Loss(s))
		t.Measured("flood-loss", "%", report.LowerIsBetter, s.LossPercent(), "card", card.Model, "size", o.Size)
		all = append(all, s)
	}
	return all
}

// NoLossAnywhere pings every card of a guest and checks that nothing is lost.
func (t *T) NoLossAnywhere(what string, guest *Node) {
	for i, c := range guest.Cards() {
		s := t.Host().Ping(t.PlainPing(guest.Addr(i)))
		t.NoLoss(fmt.Sprintf("%s: ping %s", what, c.Model), s)
		t.MeasuredPing(s, "card", c.Model)
	}
}
