package vnic

import (
	"picolab/guestagent/client"
	"picolab/hostctl/catalogue"
	"picolab/hostctl/catalogue/internal/pings"
)

// pingItem is the document's number of its ping tests.
const pingItem = "2 (the second)"

var ping = catalogue.Case{
	ID:    "vnic.ping",
	Title: "Ping the guest ten times with every size at every interval",
	Seed: catalogue.Seed{Doc: doc, Item: pingItem + " 1)",
		Criterion: "ping guest_ip -c ping_counts -i {interval} -s {packet_size}: the packet loss ratio should be zero",
		Note: "ping_counts is the 10 of the document's example. An interval of 0.0001 s is below what an emulated guest " +
			"keeps up with; the distance that was achieved is part of each check's evidence."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"sizes": pings.Sizes, "intervals": pings.Intervals, "count": "10", "time": "1m"},
		Quick: catalogue.Values{"count": "3", "time": "4s"},
	},
	Steps: []string{
		"determine the guest's address",
		"for each interval and each size: ping -c 10 -i INTERVAL -s SIZE from the host",
		"the loss of each must be zero",
	},
	Deviations: pings.Deviations(),
	Run:        pings.Grid,
}

var pingOversize = catalogue.Case{
	ID:    "vnic.ping-oversize",
	Title: "Ten pings of 65508 bytes are lost altogether",
	Seed: catalogue.Seed{Doc: doc, Item: pingItem + " 2)",
		Criterion: "ping guest_ip -c ping_counts -s 65508: the packet loss ratio should be 100%",
		Note: "65507 is the most an IPv4 packet can carry. The sender's kernel refuses one byte more with EMSGSIZE; a " +
			"refused request counts as sent and lost. So that the guest sees one, it is sent in fragments as well. That the " +
			"guest is alive afterwards is checked too."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines().EveryModel(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"size": "65508", "intervals": "1s", "count": "10", "alive": "10", "time": "20s"},
		Quick: catalogue.Values{"intervals": "100ms", "count": "5", "alive": "3", "time": "1s"},
	},
	Steps: []string{
		"ping -c 10 -s 65508 from the host",
		"the loss must be 100 %",
		"send the same in fragments past the sender's kernel: the guest must not put them together, nor answer",
		"ping normally: the loss must be zero",
	},
	Run: pings.Oversize,
}

var pingFlood = catalogue.Case{
	ID:    "vnic.ping-flood",
	Title: "No kernel complains of a ping flood of every size",
	Seed: catalogue.Seed{Doc: doc, Item: pingItem + " 3)",
		Criterion: "ping -f -c flood_counts -s {packet_size}: no panic/calltrace in the guest and guest",
		Note: "flood_counts is the 1000 of the document's example; its second guest is taken for the host. The flood's " +
			"own loss has no criterion and is kept as a note; that the guest answers afterwards is checked too."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"sizes": pings.Sizes, "flood": "1000", "interval": "1s", "count": "10", "time": "5m"},
		Quick: catalogue.Values{"sizes": "0 1500 65507", "flood": "200", "interval": "100ms", "count": "3", "time": "6s"},
	},
	Steps: []string{
		"for each size: ping -f -c 1000 -s SIZE from the host",
		"ping normally after each flood: the loss must be zero",
		"search the kernel logs of guest and host: no panic, no call trace",
	},
	Run: func(t *catalogue.T) { pings.Flood(t, client.PingOptions{Count: t.Int("flood")}) },
}
