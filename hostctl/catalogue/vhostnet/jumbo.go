package vhostnet

import (
	"fmt"
	"net/netip"

	"picolab/guestagent/client"
	"picolab/hostctl/catalogue"
)

// headers is what IPv4 and ICMP take of an MTU.
const headers = 20 + 8

var jumbo = catalogue.Case{
	ID:    "vhostnet.jumbo",
	Title: "Packets of the largest MTU arrive unfragmented",
	Seed: catalogue.Seed{Doc: doc, Item: "3",
		Criterion: "ping the guest in the host with path mtu discovery (-M do, size MTU - 28, -c 10): check the packet " +
			"loss ratio, if the ratio is not zero, fail the whole cases",
		Note: "65521 is a tap's largest MTU (65535 less the Ethernet header), so it is also what virtio can be " +
			"asked, though its driver takes 65535. rtl8139 is tried with the document's 1500 and with the 4096 its " +
			"driver allows today; the most of e1000e, igb and vmxnet3 is their drivers'. The direction matters: QEMU " +
			"does not police what the guest sends."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines().EveryModel(),
	Needs:    needs,
	Params: catalogue.Params{
		Full: catalogue.Values{"tap": "65521", "virtio": "65521", "e1000": "16110", "rtl8139": "1500 4096",
			"e1000e": "9212", "igb": "9216", "vmxnet3": "9000", "interval": "1s", "count": "10", "time": "30s"},
		Quick: catalogue.Values{"interval": "100ms", "time": "3s"},
	},
	Steps: []string{
		"set the MTU of the tap and of the bridge it is on, or of the host's end of the switch, to 65521",
		"set the MTU of the guest's card to the most its model takes",
		"add a route to the guest and a static ARP entry for its card on the host",
		"ping -M do -s MTU-28 -c 10 the guest from the host: the loss must be zero",
	},
	Run: func(t *catalogue.T) {
		host, guest := t.Host(), t.Guest("a")
		widen(t)
		for _, mtu := range t.Ints(t.Axis("nic")) {
			name := guest.Link(0).Name
			guest.SetMTU(name, mtu)
			link := guest.AwaitUp(name)
			catalogue.Equal(t, "MTU of the guest's card", mtu, int(link.Mtu), name)
			t.NoLoss(fmt.Sprintf("ping %d bytes unfragmented", mtu-headers), host.Ping(client.PingOptions{Target: guest.Addr(0),
				Size: mtu - headers, DontFragment: true, Interval: t.Duration("interval"), Count: t.Int("count")}))
		}
	},
}

// widen has the host send packets of a tap's largest MTU to the guest in one piece.
func widen(t *catalogue.T) {
	host, guest := t.Host(), t.Guest("a")
	card, bridge := guest.Card(0), t.Segment(catalogue.LAN).Bridge
	if card.Tap != "" {
		host.SetMTU(card.Tap, t.Int("tap"))
	}
	host.SetMTU(bridge, t.Int("tap"))
	host.AddRoute(client.Route{Destination: netip.PrefixFrom(guest.Addr(0), 32), Link: bridge})
	host.AddNeigh(bridge, guest.Addr(0), card.MAC)
}
