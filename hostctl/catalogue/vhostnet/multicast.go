package vhostnet

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/lab"
)

// station is the document's second address, which is none of a group.
const station = "02:00:5e:c0:01:64"

var multicast = catalogue.Case{
	ID:    "vhostnet.multicast",
	Title: "The guest receives what is sent to the addresses it joined",
	Seed: catalogue.Seed{Doc: doc, Item: "7",
		Criterion: "join it three multicast groups (ip maddr add); tcpdump -ep ether multicast; produce three random date packets and " +
			"send to three multicast macaddress on host; sleep 20 seconds; check if the tcpdump's result contains that three packets",
		Note: "Each packet carries random text of its own, which is what is looked for. The capture ends as soon as all are in it."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"addresses": "01:00:5e:c0:01:64 02:00:5e:c0:01:64 03:00:00:00:40:00", "listen": "20s", "time": "1s"},
		Quick: catalogue.Values{"listen": "100ms"},
	},
	Steps: []string{
		"the guest's card joins the three addresses",
		"capture on it with the filter ether multicast, without making it promiscuous",
		"send a packet of random text to each address from the host",
		"the capture has the packets to both groups; the one to the station's address is in a capture without that filter",
	},
	Deviations: []catalogue.Deviant{{
		Check: "packet to " + station, Seed: "in the capture of ether multicast", Modern: "in a capture without that filter",
		Reason: "the address has the group bit clear, so it is a station's: ether multicast never shows it, and a card that gets " +
			"it as a group (ip maddr add) need not receive it. The card is given it as one more address of its own",
	}},
	Run: func(t *catalogue.T) {
		host, guest := t.Host(), t.Guest("a")
		link, bridge := guest.Link(0).Name, t.Segment(catalogue.LAN).Bridge
		addresses := t.Words("addresses")
		for _, mac := range addresses {
			guest.Join(link, mac)
		}
		checkTables(t, guest, addresses)
		stopGroups := guest.Record(link, "ether multicast", groupsFile)
		stopStations := guest.Record(link, "ether proto 0x88b5 and not ether multicast", stationsFile)
		letters := write(t, host.LinkNamed(bridge).Mac, addresses)
		host.Inject(bridge, "sent.pcapng", frames(letters))
		missing := func(l letter) bool { return !l.captured(t) }
		t.PollFor(t.Timeout(lab.WaitEvent)+t.Duration("listen"), func() bool { return !slices.ContainsFunc(letters, missing) })
		stopGroups()
		stopStations()
		for _, l := range letters {
			l.check(t)
		}
	},
}

// The captures of a guest's link.
const (
	groupsFile   = "groups.pcapng"
	stationsFile = "stations.pcapng"
)

// letter is a frame with a random text.
type letter struct {
	to, text, file string // file is the capture that it is to be in
	frame          []byte
}

// check checks that the letter arrived.
func (l letter) check(t *catalogue.T) {
	ok := l.captured(t)
	got := map[bool]string{true: "captured", false: "not captured"}[ok]
	if l.to == station {
		t.Deviate("packet to "+l.to, got, ok, l.file)
		return
	}
	catalogue.Equal(t, "packet to "+l.to, "captured", got, l.file)
}

// captured reports whether the letter's text is in its capture, as grep does;
// pcapng keeps frames as they are.
func (l letter) captured(t *catalogue.T) bool {
	b, err := os.ReadFile(t.Path(l.file))
	if err != nil {
		t.Errorf("read capture: %v", err)
	}
	return bytes.Contains(b, []byte(l.text))
}

func frames(letters []letter) (all [][]byte) {
	for _, l := range letters {
		all = append(all, l.frame)
	}
	return all
}

// experimental is the EtherType for local experiments (IEEE 802, 9.2.3).
const experimental = "\x88\xb5"

// write makes a letter to each address.
func write(t *catalogue.T, from string, to []string) (letters []letter) {
	source, err := net.ParseMAC(from)
	if err != nil {
		t.Errorf("address of the host's side: %v", err)
	}
	for _, mac := range to {
		destination, err := net.ParseMAC(mac)
		if err != nil {
			t.Errorf("parameter addresses: %v", err)
		}
		l := letter{to: mac, text: "picolab multicast " + rand.Text() + " ", file: stationsFile}
		if destination[0]&1 != 0 { // the group bit (IEEE 802, 8.2.2)
			l.file = groupsFile
		}
		body := strings.Repeat(l.text, 2) // longer than the shortest frame
		l.frame = slices.Concat(destination, source, []byte(experimental+body))
		letters = append(letters, l)
	}
	return letters
}

// checkTables checks that virtio was told of the addresses; other models do not
// answer.
func checkTables(t *catalogue.T, guest *catalogue.Node, addresses []string) {
	if t.Axis("nic") != "virtio" {
		return
	}
	var lacks []string
	t.Poll(lab.WaitLink, func() bool {
		filter := guest.RxFilter(0)
		known := slices.Concat(filter.Unicast, filter.Multicast)
		lacks = slices.DeleteFunc(slices.Clone(addresses), func(mac string) bool { return slices.Contains(known, mac) })
		return len(lacks) == 0
	})
	catalogue.Equal(t, "joined addresses that query-rx-filter lacks", "[]", fmt.Sprint(lacks), "")
}
