// Package promisc is what the documents' two cases of promiscuous mode share.
package promisc

import (
	"fmt"
	"time"

	"picolab/guestagent/client"
	"picolab/hostctl/catalogue"
	"picolab/hostctl/lab"
)

const pauseCheck = "pause after each change"

// Deviations are those of a case that calls [Toggle].
func Deviations() []catalogue.Deviant {
	return []catalogue.Deviant{{Check: pauseCheck, Seed: "0.01 s", Modern: "2 s on e1000",
		Reason: "QEMU's e1000 receives nothing for a second after each write to its receive control register, which has the mode " +
			"(set_rx_control and e1000_can_receive in hw/net/e1000.c): faster changes keep it from receiving at all"}}
}

// Toggle switches promiscuous mode of a guest's link on and off for as long as fn
// runs, and leaves it off.  It takes the parameters "pause", the documents' time
// after each change, and "pause-e1000".
func Toggle(t *catalogue.T, guest *catalogue.Node, link string, fn func()) {
	pause := t.Duration("pause")
	if t.Axis("nic") == "e1000" {
		pause = t.Duration("pause-e1000")
		t.Deviate(pauseCheck, fmt.Sprintf("%g s", pause.Seconds()), pause > time.Second, "")
	}
	on, off := true, false
	made := guest.Toggling(link, pause, []client.LinkChange{{Promisc: &on}, {Promisc: &off}}, fn)
	t.Logf("%d changes of the mode", made)
	guest.SetLink(link, client.LinkChange{Promisc: &off})
	Await(t, guest, link, false, "afterwards")
}

// Await checks that the mode becomes on or off, where that can be seen best: in
// the card, if it is virtio, which alone answers query-rx-filter.
func Await(t *catalogue.T, guest *catalogue.Node, link string, want bool, when string) {
	name := map[bool]string{true: " on, ", false: " off, "}[want] + when
	if t.Axis("nic") != "virtio" {
		catalogue.Await(t, "promiscuous flag"+name, lab.WaitLink, want, func() bool { return guest.LinkNamed(link).Promisc })
		return
	}
	catalogue.Await(t, "query-rx-filter promiscuous"+name, lab.WaitLink, want, func() bool { return guest.RxFilter(0).Promiscuous })
}

// Patience is how long the last replies of a ping may take: longer than e1000
// receives nothing.
func Patience(t *catalogue.T) time.Duration { return t.Timeout(lab.WaitDriver) }
