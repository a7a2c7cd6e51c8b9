package vhostnet

import (
	"fmt"

	"picolab/guestagent/client"
	"picolab/hostctl/catalogue"
)

var ping = catalogue.Case{
	ID:    "vhostnet.ping",
	Title: "Ping the guest with every size at every interval",
	Seed: catalogue.Seed{Doc: doc, Item: "2",
		Criterion: "determine the packet loss ratio, if the packet loss ratio is not zero, fail the whole testcases",
		Note: "The document leaves ping_count open; 30 is tp-qemu's. An interval of 0.0001 s is below what a " +
			"timer or an emulated guest keeps up with: requests are sent by monotonic time, and the distance " +
			"that was achieved is part of each check's evidence."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends(),
	Matrix:   catalogue.Cards().Backends(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"sizes": pingSizes, "intervals": pingIntervals, "count": pingCount, "time": "3m"},
		Quick: catalogue.Values{"count": "5", "time": "30s"},
	},
	Steps: []string{
		"determine the guest's address",
		"for each size and each interval: ping -s SIZE -i INTERVAL -c COUNT from the host",
		"the loss of each must be zero",
	},
	Run: func(t *catalogue.T) {
		host, guest := t.Host(), t.Guest("a").Addr(0)
		for _, interval := range t.Durations("intervals") {
			for _, size := range t.Ints("sizes") {
				ping := client.PingOptions{Target: guest, Size: size, Interval: interval, Count: t.Int("count")}
				stats, name := host.Ping(ping), fmt.Sprintf("ping %d bytes every %v", size, interval)
				if t.Outpaced(stats, size) {
					ping.Interval = 2 * stats.RTTMax
					t.NoLossWaiting(name, stats, host.Ping(ping))
				} else {
					t.NoLoss(name, stats)
				}
				t.MeasuredPing(stats, "size", size, "interval", interval)
				if stats.Received == 0 {
					t.Fatalf("the guest does not answer at all: the rest is not tried")
				}
			}
		}
	},
}

var pingOversize = catalogue.Case{
	ID:    "vhostnet.ping-oversize",
	Title: "A ping of 65508 bytes is lost altogether",
	Seed: catalogue.Seed{Doc: doc, Item: "2",
		Criterion: "ping the guest with the 65508 size: if the packet loss ratio is not one hundred, fail the whole testecases",
		Note: "65507 is the most an IPv4 packet can carry (65535 - 20 - 8). The sender's kernel refuses one byte more " +
			"with EMSGSIZE, and ping(8) today does not even print a loss; a refused request counts as sent and lost. " +
			"That the guest is alive afterwards is checked too."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends(),
	Matrix:   catalogue.Cards("off").Backends(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"size": "65508", "intervals": pingIntervals, "count": pingCount, "alive": "10", "time": "1m"},
		Quick: catalogue.Values{"count": "5", "time": "10s"},
	},
	Steps: []string{
		"for each interval: ping -s 65508 -i INTERVAL -c COUNT from the host",
		"the loss of each must be 100 %",
		"ping normally: the loss must be zero",
	},
	Run: func(t *catalogue.T) {
		host, guest := t.Host(), t.Guest("a").Addr(0)
		for _, interval := range t.Durations("intervals") {
			stats := host.Ping(client.PingOptions{Target: guest, Size: t.Int("size"), Interval: interval, Count: t.Int("count")})
			t.AllLost(fmt.Sprintf("ping %d bytes every %v", t.Int("size"), interval), stats)
		}
		t.NoLoss("ping afterwards", host.Ping(client.PingOptions{Target: guest, Size: 56,
			Interval: t.Durations("intervals")[0], Count: t.Int("alive")}))
	},
}

var pingFlood = catalogue.Case{
	ID:    "vhostnet.ping-flood",
	Title: "The guest survives a ping flood of every size",
	Seed: catalogue.Seed{Doc: doc, Item: "2",
		Criterion: "flood ping the guest with 10 minutes and then ping the guest to see if could still get zero packet " +
			"loss, if not, fail the test cases; search panic/oops in the dmesg and /var/log/messages, if found any fail",
		Note: "The flood itself has no criterion; what it came to is kept as a note."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends(),
	Matrix:   catalogue.Cards("off").Backends(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"sizes": pingSizes, "flood": "10m", "interval": "1s", "count": "10", "time": "2h10m"},
		Quick: catalogue.Values{"sizes": "0 1500 65507", "flood": "5s", "interval": "100ms", "time": "20s"},
	},
	Steps: []string{
		"for each size: ping -f -s SIZE from the host for the time",
		"ping normally after each flood: the loss must be zero",
		"search the kernel logs of guest and host: no panic, no oops",
	},
	Run: func(t *catalogue.T) {
		host, guest := t.Host(), t.Guest("a").Addr(0)
		kernels := t.Kernels()
		for _, size := range t.Ints("sizes") {
			flood := host.Ping(client.PingOptions{Target: guest, Size: size, Flood: true, Duration: t.Duration("flood")})
			t.Logf("flood of %d bytes: %d sent, %s", size, flood.Sent, catalogue.Loss(flood))
			t.NoLoss(fmt.Sprintf("ping after a flood of %d bytes", size),
				host.Ping(client.PingOptions{Target: guest, Size: 56, Interval: t.Duration("interval"), Count: t.Int("count")}))
		}
		kernels()
	},
}
