package vhostnet

import (
	"picolab/guestagent/client"
	"picolab/hostctl/catalogue"
	"picolab/hostctl/catalogue/internal/promisc"
)

var promiscuous = catalogue.Case{
	ID:    "vhostnet.promisc",
	Title: "A file arrives whole while the guest's card goes in and out of promiscuous mode",
	Seed: catalogue.Seed{Doc: doc, Item: "4",
		Criterion: "while true; do ifconfig eth0 promisc; sleep 0.01; ifconfig eth0 -promisc; sleep 0.01; done; in the meantime, " +
			"scp the random file to the guest; compare the md5sum for both guest and host, if they are different, fail",
		Note: "The file is a pseudo-random stream whose SHA-256 both ends compare. That the mode reaches the card is checked " +
			"by query-rx-filter, which virtio alone answers; of other models the guest's own flag is looked at."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"bytes": "1000MiB", "pause": "10ms", "pause-e1000": "2s", "time": "10m"},
		Quick: catalogue.Values{"bytes": "16MiB", "time": "3s"},
	},
	Deviations: promisc.Deviations(),
	Steps: []string{
		"switch promiscuous mode on, and off: the card follows",
		"switch it on and off in a loop, with 0.01 s after each",
		"in the meantime send the data from the host to the guest; what arrived must be what was sent",
		"switch it off: the card follows",
	},
	Run: func(t *catalogue.T) {
		host, guest := t.Host(), t.Guest("a")
		link := guest.Link(0).Name
		for _, mode := range []bool{true, false} {
			guest.SetLink(link, client.LinkChange{Promisc: &mode})
			promisc.Await(t, guest, link, mode, "switched")
		}
		promisc.Toggle(t, guest, link, func() {
			t.Transfer("host to guest meanwhile", host, guest, guest.Addr(0), t.Bytes("bytes"))
		})
	},
}
