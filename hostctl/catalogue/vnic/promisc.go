package vnic

import (
	"picolab/hostctl/catalogue"
	"picolab/hostctl/catalogue/internal/promisc"
)

var promiscToggle = catalogue.Case{
	ID:    "vnic.promisc-toggle",
	Title: "The link works on while promiscuous mode goes on and off",
	Seed: catalogue.Seed{Doc: doc, Item: "6 and 13",
		Criterion: "while true; do ifconfig eth0 promisc; sleep 0.01; ifconfig eth0 -promisc; sleep 0.01; done",
		Note: "The document states no criterion; that nothing is lost meanwhile is implied. That the mode reaches the card is " +
			"looked at for virtio, which alone answers query-rx-filter."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"pause": "10ms", "pause-e1000": "2s", "interval": "100ms", "count": "600", "time": "1m"},
		Quick: catalogue.Values{"interval": "20ms", "count": "100", "time": "2s"},
	},
	Deviations: promisc.Deviations(),
	Steps: []string{
		"switch promiscuous mode on and off in a loop, with 0.01 s after each",
		"meanwhile ping the guest from the host: nothing is lost",
		"switch it off: the card follows; a ping is answered",
	},
	Run: func(t *catalogue.T) {
		host, guest := t.Host(), t.Guest("a")
		probe := t.PlainPing(guest.Addr(0))
		probe.Timeout = promisc.Patience(t)
		promisc.Toggle(t, guest, guest.Link(0).Name, func() { t.NoLoss("ping while the mode changes", host.Ping(probe)) })
		probe.Count = 3
		t.NoLoss("ping afterwards", host.Ping(probe))
	},
}
