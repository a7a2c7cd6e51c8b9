package vhostnet

import (
	"net/netip"

	"picolab/hostctl/catalogue"
)

var netperfStress = catalogue.Case{
	ID:    "vhostnet.netperf-stress",
	Title: "The guest survives netperf's TCP and UDP streams, both ways",
	Seed: catalogue.Seed{Doc: doc, Item: "11",
		Criterion: "ping the guest in host, the packet loss should be zero (ping -c 10); search dmesg in guest and see if there have calltrace",
		Note: "The document leaves the time open; 120 s is tp-qemu's. It has the host's client do the last UDP test again " +
			"against the host, which can only be meant for the guest's. The streams have no criterion but that they end; what " +
			"arrived is a figure."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"length": "120s", "tests": "TCP_STREAM UDP_STREAM", "interval": "1s", "count": "10", "time": "8m20s"},
		Quick: catalogue.Values{"length": "1s", "interval": "100ms", "time": "6s"},
	},
	Steps: []string{
		"netserver in the guest; netperf -H GUEST -l TIME on the host, TCP_STREAM and then UDP_STREAM",
		"netserver on the host; netperf -H HOST -l TIME in the guest, TCP_STREAM and then UDP_STREAM",
		"ping -c 10 the guest from the host: the loss must be zero",
		"search the kernel logs of guest and host: no call trace",
	},
	Run: func(t *catalogue.T) {
		host, guest := t.Host(), t.Guest("a")
		kernels := t.Kernels()
		inGuest := netip.AddrPortFrom(guest.Addr(0), guest.Serve("netserver", "-p", "0"))
		onHost := netip.AddrPortFrom(t.Segment(catalogue.LAN).Host.Addr(), host.Serve("netserver", "-p", "0"))
		for _, test := range t.Words("tests") {
			t.Netperf(test+" host to guest", host, inGuest, test, t.Duration("length"))
		}
		for _, test := range t.Words("tests") {
			t.Netperf(test+" guest to host", guest, onHost, test, t.Duration("length"))
		}
		t.NoLoss("ping afterwards", host.Ping(t.PlainPing(guest.Addr(0))))
		kernels()
	},
}
