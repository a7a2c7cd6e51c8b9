package vhostnet

import (
	"fmt"
	"strings"
	"sync/atomic"

	"picolab/guestagent/client"
	"picolab/hostctl/catalogue"
	"picolab/hostctl/lab"
)

// bondLink is what the module makes when it is loaded.
const bondLink = "bond0"

// inFlaps is the check that has a tolerance.
const inFlaps = "ping during the flaps"

var bonding = catalogue.Case{
	ID:    "vhostnet.bonding",
	Title: "A bond of four cards carries on while they go down and up",
	Seed: catalogue.Seed{Doc: doc, Item: "13",
		Criterion: "in the mean time ping the guest in host with -c 1000: the packet loss ratio should be zero; flood ping for two " +
			"minutes, and then ping -c 100: the packet loss ratio should be zero",
		Note: "The document leaves the bond's mode open. The kernel's default, balance-rr, sends from one address by four ports of a " +
			"bridge, which has to learn it anew with every frame: the mode is active-backup. Its script takes links down and up " +
			"without a pause; here each is down for 0.1 s and has 0.4 s before the next."},
	Where:    where,
	Topology: catalogue.FourCards().OnBackends().OnMachines(),
	Matrix:   catalogue.MixedCards("off").Machines().OnceEach(),
	Needs:    append([]string{"mod.bonding"}, needs...),
	Params: catalogue.Params{
		Full: catalogue.Values{"mode": "active-backup", "miimon": "100", "down": "100ms", "up": "400ms", "interval": "1s", "during": "1000",
			"tolerance": "20", "bytes": "256MiB", "flood": "2m", "count": "100", "time": "25m"},
		Quick: catalogue.Values{"interval": "20ms", "during": "100", "bytes": "4MiB", "flood": "1s", "count": "20", "time": "8s"},
	},
	Steps: []string{
		"load the module bonding: bond0 is there; set its mode and monitor, make the four cards its ports, give it the address",
		"in the guest, again and again: each port down, sleep 0.1, up, sleep 0.4",
		"in the mean time ping -c 1000 the bond from the host: the loss should be zero, and must be within the tolerance",
		"in the mean time send data to the guest by TCP: it must arrive intact",
		"all ports are up again; flood ping the bond for the time",
		"ping -c 100 the bond: the loss must be zero",
		"release the cards and unload the module",
	},
	Deviations: []catalogue.Deviant{{Check: inFlaps, Seed: "0% packet loss", Modern: "at most 20% packet loss",
		Reason: "the bond looks at its ports every 100 ms, and what it sends by one that is down is lost until then"}},
	Run: func(t *catalogue.T) {
		guest := t.Guest("a")
		kernels := t.Kernels()
		ports := makeBond(t, guest)
		t.NoLoss("ping of the bond", pingBond(t, guest, t.Int("count")))
		judgeFlaps(t, flapPorts(t, guest, ports))

		catalogue.Await(t, "ports that are up after the flaps", lab.WaitLink, len(ports), func() int { return portsUp(guest) })
		flood := t.Host().Ping(client.PingOptions{Target: guest.Addr(0), Size: 56, Flood: true, Duration: t.Duration("flood")})
		t.Logf("flood of the bond: %d sent, %s", flood.Sent, catalogue.Loss(flood))
		t.NoLoss("ping after the flood", pingBond(t, guest, t.Int("count")))
		kernels()
	},
}

// makeBond makes all cards ports of the bond, which gets the first one's address, and returns the ports' names: in the bond
// all have one MAC.
func makeBond(t *catalogue.T, guest *catalogue.Node) []string {
	t.Cleanup(func() { guest.Rmmod("bonding") })
	guest.WriteFile("/sys/class/net/"+bondLink+"/bonding/mode", t.Param("mode"))
	guest.WriteFile("/sys/class/net/"+bondLink+"/bonding/miimon", t.Param("miimon"))
	var ports []string
	for i := range guest.Cards() {
		ports = append(ports, guest.Link(i).Name)
	}
	for i, port := range ports {
		guest.DelAddr(port, guest.Card(i).Addr)
		guest.SetUp(port, false)
		guest.SetMaster(port, bondLink)
	}
	guest.SetUp(bondLink, true)
	guest.AddAddr(bondLink, guest.Card(0).Addr)
	guest.AwaitUp(bondLink)
	// Any card answers for any address of its guest (Linux, arp_ignore), so the host may know this one's by the MAC of a card
	// that has the bond's now.
	t.Host().Forget(t.Segment(catalogue.LAN).Bridge, guest.Addr(0))
	return ports
}

// flapPorts pings the bond and sends data to it while its ports flap, and returns what came of the ping.
func flapPorts(t *catalogue.T, guest *catalogue.Node, ports []string) (stats client.PingStats) {
	var done atomic.Bool
	t.Together(
		func() {
			defer done.Store(true)
			stats = pingBond(t, guest, t.Int("during"))
			t.Transfer("data to the guest during the flaps", t.Host(), guest, guest.Addr(0), t.Bytes("bytes"))
		},
		func() {
			for i := 0; !done.Load(); i++ {
				guest.Flap(ports[i%len(ports)], t.Duration("down"), t.Duration("up"))
			}
		},
	)
	return stats
}

// judgeFlaps asks for the document's own loss first.
func judgeFlaps(t *catalogue.T, stats client.PingStats) {
	t.MeasuredPing(stats, "while", "flapping")
	loss := stats.LossPercent()
	if ok := t.Deviate(inFlaps, catalogue.Loss(stats), loss <= float64(t.Int("tolerance")), fmt.Sprintf("one every %v", stats.AchievedInterval)); ok && loss > 0 {
		t.Degraded("%s: %s, and the data arrived intact", inFlaps, catalogue.Loss(stats))
	}
}

func pingBond(t *catalogue.T, guest *catalogue.Node, count int) client.PingStats {
	return t.Host().Ping(client.PingOptions{Target: guest.Addr(0), Size: 56, Interval: t.Duration("interval"), Count: count})
}

// portsUp counts the bond's ports that it takes for up; the first line of that kind is the bond's own.
func portsUp(guest *catalogue.Node) int {
	return strings.Count(guest.ReadFile("/proc/net/bonding/"+bondLink), "MII Status: up") - 1
}
