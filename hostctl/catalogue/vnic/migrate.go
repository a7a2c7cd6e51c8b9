package vnic

import (
	"fmt"
	"time"

	"picolab/guestagent/client"
	"picolab/hostctl/catalogue"
	"picolab/hostctl/report"
)

var migrate = catalogue.Case{
	ID:    "vnic.migrate",
	Title: "A guest migrates while it is pinged, and its card works on",
	Seed: catalogue.Seed{Doc: doc, Item: "17",
		Criterion: "(qemu) migrate -d tcp:<dst-host>:<dst-port>,spiceport=<dst-spice-port>,spicehost=<dst-host>",
		Note: "The document states no criterion; that the migration completes, that the guest is the same afterwards and that its " +
			"card works are implied. The flags for spice are gone from QEMU. The guest goes to a second QEMU on the same machine, " +
			"over a unix socket, and there to a tap or port of its own. Its vsock device cannot go along: it is taken out and put " +
			"back, for which the machine is pc, and the card's slot is fixed, so that it is the same on both sides."},
	Where:    where,
	Topology: movable().OnBackends(),
	Matrix:   movables(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"interval": "100ms", "round": "50", "patience": "1s", "after": "100", "time": "1m"},
		Quick: catalogue.Values{"interval": "50ms", "round": "20", "after": "10", "time": "8s"},
	},
	Steps: []string{
		"start a second QEMU of the same configuration with -incoming unix:PATH",
		"ping the guest from the host from now on",
		"migrate unix:PATH in the first one; query-migrate: completed",
		"the ping goes on: it is answered before and afterwards",
		"the guest has not booted anew; ping it again: the loss must be zero",
	},
	Run: func(t *catalogue.T) {
		guest := t.Guest("a")
		boot := guest.ReadFile(bootID)
		moved := make(chan struct{})
		t.Together(
			func() { defer close(moved); move(t, guest) },
			func() { pingAlong(t, guest, moved) },
		)
		catalogue.Equal(t, "boot of the guest afterwards", boot, guest.ReadFile(bootID), bootID)
		t.NoLoss("ping afterwards", t.Host().Ping(client.PingOptions{Target: guest.Addr(0), Size: 56,
			Interval: t.Duration("interval"), Count: t.Int("after")}))
	},
}

// bootID is other after each boot of a kernel (random(4)).
const bootID = "/proc/sys/kernel/random/boot_id"

// movable is a guest that can be migrated; see lab.VM.Move.
func movable() catalogue.Topology {
	top := catalogue.OneGuest("addr=0x8")
	top.Guests[0].Machine, top.Guests[0].Spare = "pc", 0
	return top
}

func movables() catalogue.Matrix {
	m := catalogue.Cards("off").Backends().OnceEach()
	m.Exclusions = append(m.Exclusions, catalogue.Exclusion{When: []catalogue.Match{{Axis: "nic", In: []string{"igb"}}},
		Reason: "igb is a PCI Express card, and the guest moves on machine pc, which has PCI slots only"})
	return m
}

func move(t *catalogue.T, guest *catalogue.Node) {
	m := guest.Migrate()
	t.Measured("downtime", "ms", report.LowerIsBetter, float64(m.Downtime.Milliseconds()))
	t.Measured("migration", "ms", report.LowerIsBetter, float64(m.Total.Milliseconds()))
}

// pingAlong pings in rounds until a whole round has passed since the guest moved.
func pingAlong(t *catalogue.T, guest *catalogue.Node, moved <-chan struct{}) {
	o := client.PingOptions{Target: guest.Addr(0), Size: 56, Interval: t.Duration("interval"), Count: t.Int("round"),
		Timeout: t.Duration("patience")}
	var first, sum client.PingStats
	var longest time.Duration
	for last, rounds := false, 0; !last; rounds++ {
		select {
		case <-moved:
			last = true
		case <-t.Context().Done():
			return
		default:
		}
		s := t.Host().Ping(o)
		if rounds == 0 {
			first = s
		}
		sum.Sent, sum.Received, longest = sum.Sent+s.Sent, sum.Received+s.Received, max(longest, s.RTTMax)
	}
	t.Check("ping along", "answered", catalogue.Loss(sum), first.Received > 0 && 2*sum.Received > sum.Sent,
		fmt.Sprintf("the longest wait %v, one every %v", longest, o.Interval))
	t.Measured("loss", "%", report.LowerIsBetter, sum.LossPercent())
}
