package vhostnet

import (
	"fmt"
	"slices"
	"strings"

	"picolab/guestagent/client"
	"picolab/guestagent/wire"
	"picolab/hostctl/catalogue"
)

// ofSleep is the criterion of both kinds.
const ofSleep = "waken from s3/s4 and test the virtual nics through ping, and determine the packet loss ratio, if the ratio is not " +
	"zero, fail the whole test"

// Disks of the guests, in MiB.  That of S4 is enough for all that a guest of a lab has in memory; what it does not use is a
// hole.  Another size is another guest: one that has slept in S3 does not go to S4 any more (Linux 6.12 under TCG: the image
// is never finished).
const (
	diskS3 = 16
	diskS4 = 1024
)

var suspendS3 = catalogue.Case{
	ID:    "vhostnet.suspend-s3",
	Title: "The network is there again after a suspend to RAM",
	Seed: catalogue.Seed{Doc: doc, Item: "10", Criterion: ofSleep,
		Note: "The guest sleeps when QEMU says so (SUSPEND, status suspended), and is woken by system_wakeup, which is refused " +
			"before. That the sleep is S3 and not an idle kernel is looked at in /sys/power/mem_sleep, that it is the same life " +
			"afterwards in /proc/sys/kernel/random/boot_id. Addresses and MTUs must have survived as well: nothing is set anew. " +
			"One guest has all three models."},
	Where:    where,
	Topology: catalogue.ThreeCards().Sleepy(diskS3).OnMachines().OnBackends(),
	Matrix:   catalogue.MixedCards("off").Machines("q35"),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"interval": "1s", "count": "10", "time": "1m"},
		Quick: catalogue.Values{"interval": "50ms", "time": "5s"},
	},
	Steps: []string{
		"ping each card of the guest from the host: it answers",
		"suspend the guest: echo mem > /sys/power/state",
		"wait until QEMU says that it sleeps",
		"wake it up: system_wakeup",
		"the guest's boot id is what it was: it has resumed and not booted",
		"ping -c 10 each card from the host: the loss must be zero",
		"search the kernel logs of guest and host: no panic, no oops",
	},
	Run: func(t *catalogue.T) {
		guest := t.Guest("a")
		kinds := guest.ReadFile("/sys/power/mem_sleep")
		if !t.Check("kind of sleep", "S3: [deep] in /sys/power/mem_sleep", kinds, strings.Contains(kinds, "[deep]"), "") {
			t.Fatalf("the guest cannot suspend to RAM")
		}
		survives(t, guest, func() {
			guest.Sleep(func() {
				var now struct{ Status string }
				guest.QMP("query-status", nil, &now)
				catalogue.Equal(t, "QEMU's status in the sleep", "suspended", now.Status, catalogue.JSON(now))
			})
		})
	},
}

var suspendS4 = catalogue.Case{
	ID:    "vhostnet.suspend-s4",
	Title: "The network is there again after a suspend to disk",
	Seed: catalogue.Seed{Doc: doc, Item: "10", Criterion: ofSleep,
		Note: "The guest saves itself to its swap disk and QEMU ends; the same QEMU is started again, and the guest's first process " +
			"names the disk to the kernel before anything else. That it is the same life is told by /proc/sys/kernel/random/boot_id: " +
			"a guest that booted anew would answer as well. One guest has all three models."},
	Where:    where,
	Topology: catalogue.ThreeCards().Sleepy(diskS4).OnMachines().OnBackends(),
	Matrix:   catalogue.MixedCards("off").Machines("q35"),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"interval": "1s", "count": "10", "time": "90s"},
		Quick: catalogue.Values{"interval": "50ms", "time": "15s"},
	},
	Steps: []string{
		"ping each card of the guest from the host: it answers",
		"suspend the guest: echo disk > /sys/power/state; QEMU ends",
		"start QEMU again, with the same command line",
		"the guest's boot id is what it was: it has resumed and not booted",
		"ping -c 10 each card from the host: the loss must be zero",
		"search the kernel logs of guest and host: no panic, no oops",
	},
	Run: func(t *catalogue.T) {
		guest := t.Guest("a")
		survives(t, guest, func() {
			guest.Hibernate()
			guest.Resume()
		})
	},
}

// survives has a guest sleep and looks at what must be the same before and after.
func survives(t *catalogue.T, guest *catalogue.Node, sleep func()) {
	const bootID = "/proc/sys/kernel/random/boot_id"
	t.XFailCrash("kernel BUG at lib/dynamic_queue_limits.c", "8139cp", "8139cp lets the stack send before it has started the chip "+
		"again (netif_device_attach in cp_resume), and then forgets what is queued (netdev_reset_queue in cp_start_hw): a packet "+
		"that a timer sends in between is one too many when it has been sent")
	kernels := t.Kernels()
	t.NoLossAnywhere("before the sleep", guest)
	life, before := guest.ReadFile(bootID), allSettings(guest)
	sleep()
	if !catalogue.Equal(t, "boot id after the sleep", life, guest.ReadFile(bootID), bootID) {
		t.Fatalf("the guest has booted anew")
	}
	catalogue.Equal(t, "settings of the cards after the sleep", before, allSettings(guest), "")
	t.NoLossAnywhere("after the sleep", guest)
	kernels()
}

// allSettings are those of all cards, once they are up.
func allSettings(guest *catalogue.Node) string {
	var all []string
	for i := range guest.Cards() {
		all = append(all, settings(guest.AwaitUp(guest.Link(i).Name)))
	}
	return strings.Join(all, "; ")
}

// settings is what somebody has set of a link, which must survive what does not set it.  IPv6 addresses come by
// themselves.
func settings(l *wire.Link) string {
	ipv4 := slices.DeleteFunc(slices.Clone(l.Addresses), func(a string) bool { return strings.Contains(a, ":") })
	return fmt.Sprintf("%s mtu %d up %t addresses %v", l.Mac, l.Mtu, l.Up, ipv4)
}

// pingGuest is the documents' ping afterwards, from the host to the guest's first card.
func pingGuest(t *catalogue.T, guest *catalogue.Node) client.PingStats {
	return t.Host().Ping(t.PlainPing(guest.Addr(0)))
}
