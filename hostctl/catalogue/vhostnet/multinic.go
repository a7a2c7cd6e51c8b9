package vhostnet

import (
	"picolab/guestagent/client"
	"picolab/hostctl/catalogue"
	"picolab/hostctl/catalogue/internal/pings"
)

var multiNIC = catalogue.Case{
	ID:    "vhostnet.multi-nic-stress",
	Title: "Three cards of a guest survive a flood of all at the same time",
	Seed: catalogue.Seed{Doc: doc, Item: "12",
		Criterion: "ping each nics to find whether it still work, the packet loss should be zero",
		Note: "arp_ignore and arp_announce of conf/default do nothing for links that are there: they are set for all and for each. " +
			"Each card is on a link of its own, where the document has one for all: there every reply would leave by the card " +
			"of the guest's first route. The host's ends take all that their kind can, a tap 65521 bytes, so that the large MTUs are used both ways."},
	Where:    where,
	Topology: catalogue.ThreeCards().OnBackends().OnMachines(),
	Matrix:   catalogue.MixedCards("off").Machines().OnceEach(),
	Needs:    needs,
	Params: catalogue.Params{
		Full: catalogue.Values{
			"rtl8139-mtu": "1500", "rtl8139-sizes": "0 1 48 64 512 1440 1500",
			"e1000-mtu": "16110", "e1000-sizes": "0 1 48 64 512 1440 1500 1505 4096 4192 16110",
			"virtio-mtu": "65535", "virtio-sizes": pings.Sizes,
			"flood": "10m", "interval": "1s", "count": "10", "time": "11m"},
		Quick: catalogue.Values{"flood": "3s", "interval": "50ms", "time": "6s"},
	},
	Steps: []string{
		"set arp_ignore and arp_announce to 2",
		"set the largest MTU of each card: 1500 (rtl8139), 16110 (e1000), 65535 (virtio)",
		"flood all three cards from the host at the same time, with all sizes, for the time",
		"ping -c 10 each card: the loss must be zero",
		"search the kernel logs of guest and host: no panic, no oops",
	},
	Run: func(t *catalogue.T) {
		guest := t.Guest("a")
		kernels := t.Kernels()
		ownARP(guest)
		sizes := t.WidenModels(guest)
		t.FloodCards(guest, client.PingOptions{Duration: t.Duration("flood")}, sizes...)
		t.NoLossAnywhere("after the flood", guest)
		kernels()
	},
}

// ownARP has each card answer and ask for its own address alone.
func ownARP(guest *catalogue.Node) {
	for _, conf := range []string{"default", "all", guest.Link(0).Name, guest.Link(1).Name, guest.Link(2).Name} {
		guest.Sysctl("net.ipv4.conf."+conf+".arp_ignore", "2")
		guest.Sysctl("net.ipv4.conf."+conf+".arp_announce", "2")
	}
}
