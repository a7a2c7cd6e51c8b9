package vhostnet

import (
	"picolab/hostctl/catalogue"
)

var dataTransfer = catalogue.Case{
	ID:    "vhostnet.data-transfer",
	Title: "Send much data both ways at the same time, then ping",
	Seed: catalogue.Seed{Doc: doc, Item: "1",
		Criterion: "wait until both transferring to complete; ping the guest in host: ths packet loss ratio should be zero",
		Note: "The document copies a file of zeroes with scp. Here both ends stream a pseudo-random sequence over TCP " +
			"and compare its SHA-256, which needs no disk and would notice a wrong byte that zeroes hide."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"bytes": "5000MiB", "interval": "1s", "count": "10", "time": "1h"},
		Quick: catalogue.Values{"bytes": "32MiB", "interval": "100ms", "time": "8s"},
	},
	Steps: []string{
		"send the data from the host to the guest",
		"in the mean time, send as much from the guest to the host",
		"wait until both are complete; what arrived must be what was sent",
		"ping -c 10 the guest from the host: the loss must be zero",
	},
	Run: func(t *catalogue.T) {
		host, guest := t.Host(), t.Guest("a")
		hostAddr := t.Segment(catalogue.LAN).Host.Addr()
		t.Together(
			func() { t.Transfer("host to guest", host, guest, guest.Addr(0), t.Bytes("bytes")) },
			func() { t.Transfer("guest to host", guest, host, hostAddr, t.Bytes("bytes")) },
		)
		t.NoLoss("ping afterwards", host.Ping(t.PlainPing(guest.Addr(0))))
	},
}
