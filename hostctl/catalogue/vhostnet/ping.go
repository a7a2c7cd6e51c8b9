package vhostnet

import (
	"picolab/guestagent/client"
	"picolab/hostctl/catalogue"
	"picolab/hostctl/catalogue/internal/pings"
)

// pingCount is how many requests the document's successor tp-qemu sends, where
// the document names no number.
const pingCount = "30"

var ping = catalogue.Case{
	ID:    "vhostnet.ping",
	Title: "Ping the guest with every size at every interval",
	Seed: catalogue.Seed{Doc: doc, Item: "2",
		Criterion: "determine the packet loss ratio, if the packet loss ratio is not zero, fail the whole testcases",
		Note: "The document leaves ping_count open; 30 is tp-qemu's. An interval of 0.0001 s is below what a " +
			"timer or an emulated guest keeps up with: requests are sent by monotonic time, and the distance " +
			"that was achieved is part of each check's evidence."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards().Backends().Machines(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"sizes": pings.Sizes, "intervals": pings.Intervals, "count": pingCount, "time": "3m"},
		Quick: catalogue.Values{"count": "5", "time": "6s"},
	},
	Steps: []string{
		"determine the guest's address",
		"for each size and each interval: ping -s SIZE -i INTERVAL -c COUNT from the host",
		"the loss of each must be zero",
	},
	Deviations: pings.Deviations(),
	Run:        pings.Grid,
}

var pingOversize = catalogue.Case{
	ID:    "vhostnet.ping-oversize",
	Title: "A ping of 65508 bytes is lost altogether",
	Seed: catalogue.Seed{Doc: doc, Item: "2",
		Criterion: "ping the guest with the 65508 size: if the packet loss ratio is not one hundred, fail the whole testecases",
		Note: "65507 is the most an IPv4 packet can carry (65535 - 20 - 8). The sender's kernel refuses one byte more " +
			"with EMSGSIZE, and ping(8) today does not even print a loss; a refused request counts as sent and lost. " +
			"So that the guest sees one, it is sent in fragments as well. That the guest is alive afterwards is checked too."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines().EveryModel(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"size": "65508", "intervals": pings.Intervals, "count": pingCount, "alive": "10", "time": "1m"},
		Quick: catalogue.Values{"count": "5", "time": "2s"},
	},
	Steps: []string{
		"for each interval: ping -s 65508 -i INTERVAL -c COUNT from the host",
		"the loss of each must be 100 %",
		"send the same in fragments past the sender's kernel: the guest must not put them together, nor answer",
		"ping normally: the loss must be zero",
	},
	Run: pings.Oversize,
}

var pingFlood = catalogue.Case{
	ID:    "vhostnet.ping-flood",
	Title: "The guest survives a ping flood of every size",
	Seed: catalogue.Seed{Doc: doc, Item: "2",
		Criterion: "flood ping the guest with 10 minutes and then ping the guest to see if could still get zero packet " +
			"loss, if not, fail the test cases; search panic/oops in the dmesg and /var/log/messages, if found any fail",
		Note: "The flood itself has no criterion; what it came to is kept as a note."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"sizes": pings.Sizes, "flood": "10m", "interval": "1s", "count": "10", "time": "2h10m"},
		Quick: catalogue.Values{"sizes": "1500 65507", "flood": "5s", "interval": "100ms", "time": "12s"},
	},
	Steps: []string{
		"for each size: ping -f -s SIZE from the host for the time",
		"ping normally after each flood: the loss must be zero",
		"search the kernel logs of guest and host: no panic, no oops",
	},
	Run: func(t *catalogue.T) { pings.Flood(t, client.PingOptions{Duration: t.Duration("flood")}) },
}
