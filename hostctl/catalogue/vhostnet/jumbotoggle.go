package vhostnet

import (
	"picolab/guestagent/client"
	"picolab/hostctl/catalogue"
	"picolab/hostctl/lab"
)

var jumboToggle = catalogue.Case{
	ID:    "vhostnet.jumbo-toggle",
	Title: "The guest's MTU changes again and again under a flood of jumbo packets",
	Seed: catalogue.Seed{Doc: doc, Item: "3",
		Criterion: "while true; do ifconfig eth0 mtu 1500; ifconfig eth0 mtu max; done, and in the same time flood ping the " +
			"guest in the host for five minutes; ping -c 2: if the packet loss ratio is not zero, fail the whole case",
		Note: "The flood itself has no criterion: cards start anew with every change, and some hold what comes meanwhile for a " +
			"second or until their link is up. The guest then has so many large replies to send that it drops others (Linux lets " +
			"two of 64 KiB wait), which is why it must have answered once before the ping that counts. rtl8139 changes to the 4096 that its " +
			"driver allows today, for the document's 1500 would be no change."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines(),
	Needs:    needs,
	Params: catalogue.Params{
		Full: catalogue.Values{"tap": "65521", "least": "1500", "virtio": "65521", "e1000": "16110", "rtl8139": "4096",
			"e1000e": "9212", "igb": "9216", "vmxnet3": "9000", "flood": "5m", "interval": "1s", "count": "2", "time": "5m10s"},
		Quick: catalogue.Values{"flood": "3s", "interval": "100ms", "time": "4s"},
	},
	Steps: []string{
		"set the MTUs of the host's side, the route and the static ARP entry as for jumbo frames",
		"change the MTU of the guest's card between 1500 and the most its model takes, in a loop",
		"in the same time ping -f -s MTU-28 the guest from the host",
		"ping -c 2 the guest: the loss must be zero",
		"restore the MTU",
		"search the kernel logs of guest and host: no panic, no oops",
	},
	Run: func(t *catalogue.T) {
		host, guest := t.Host(), t.Guest("a")
		kernels := t.Kernels()
		widen(t)
		link, least, most := guest.Link(0).Name, t.Int("least"), t.Int(t.Axis("nic"))
		var flood client.PingStats
		made := guest.Toggling(link, 0, []client.LinkChange{{MTU: &least}, {MTU: &most}}, func() {
			flood = host.Ping(client.PingOptions{Target: guest.Addr(0), Size: most - headers, Flood: true,
				Duration: t.Duration("flood"), Timeout: t.Timeout(lab.WaitPing) / 10})
		})
		t.Logf("%d changes of the MTU under a flood of %d bytes: %d sent, %s", made, most-headers, flood.Sent, catalogue.Loss(flood))
		guest.AwaitUp(link)
		host.AwaitReply(guest.Addr(0))
		t.NoLoss("ping after the flood", host.Ping(t.PlainPing(guest.Addr(0))))
		guest.SetMTU(link, least)
		catalogue.Equal(t, "MTU of the guest's card afterwards", least, int(guest.LinkNamed(link).Mtu), link)
		kernels()
	},
}
