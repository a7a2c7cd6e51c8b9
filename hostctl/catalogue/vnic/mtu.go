package vnic

import (
	"fmt"
	"syscall"

	"picolab/guestagent/client"
	"picolab/hostctl/catalogue"
)

// headers is what IPv4 and ICMP take of an MTU.
const headers = 20 + 8

// rtl8139Limit is the check of mtu-max that the document has another value for.
const rtl8139Limit = "largest MTU of rtl8139"

var mtuMax = catalogue.Case{
	ID:    "vnic.mtu-max",
	Title: "A card takes the largest MTU of its model, and not one byte more",
	Seed: catalogue.Seed{Doc: doc, Item: "9",
		Criterion: "ifconfig eth0 mtu 1500 (for rtl8139), eth1 mtu 65535 (for virtio), eth2 mtu 16110 (for e1000)",
		Note: "The document has cards of three models in one guest; the MTU is a card's own, so each has a guest. Its values " +
			"are accepted; that they are the largest is what one byte more shows. The most of e1000e, igb and vmxnet3 is " +
			"their drivers'. Whether frames of that size pass is what vhostnet.jumbo is about."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").AnyBackend().Machines().EveryModel(),
	Needs:    needs,
	Params: catalogue.Params{
		Full: catalogue.Values{"virtio": "1500 65535", "e1000": "1500 16110", "rtl8139": "1500 4096",
			"e1000e": "1500 9212", "igb": "1500 9216", "vmxnet3": "1500 9000", "time": "1s"},
	},
	Steps: []string{
		"set the card's MTU to 1500 and to the largest of its model: accepted, and the guest lists it",
		"set it to one byte more: the driver refuses",
	},
	Deviations: []catalogue.Deviant{{Check: rtl8139Limit, Seed: "1500", Modern: "4096",
		Reason: "8139cp, the driver of QEMU's C+ chip, takes up to 4096 (CP_MAX_MTU); 1500 was that of 8139too, for the chip without C+"}},
	Run: func(t *catalogue.T) {
		guest, most := t.Guest("a"), 0
		link := guest.Link(0).Name
		for _, most = range t.Ints(t.Axis("nic")) {
			accepts(t, guest, link, most)
		}
		more := most + 1
		got := "accepted"
		if refused := guest.TrySetLink(link, client.LinkChange{MTU: &more}); refused != nil {
			got = fmt.Sprint(most)
		}
		if t.Axis("nic") == "rtl8139" {
			t.Deviate(rtl8139Limit, got, got == fmt.Sprint(most), link)
		} else {
			catalogue.Equal(t, "largest MTU of "+t.Axis("nic"), fmt.Sprint(most), got, link)
		}
	},
}

// accepts checks that a card takes an MTU, and lists it.
func accepts(t *catalogue.T, guest *catalogue.Node, link string, mtu int) {
	got := "accepted"
	if refused := guest.TrySetLink(link, client.LinkChange{MTU: &mtu}); refused != nil {
		got = refused.Error()
	}
	name := fmt.Sprintf("MTU %d", mtu)
	if catalogue.Equal(t, name, "accepted", got, link) {
		catalogue.Equal(t, name+" is listed", mtu, int(guest.LinkNamed(link).Mtu), link)
	}
}

var mtuSet = catalogue.Case{
	ID:    "vnic.mtu-set",
	Title: "An MTU that is set is in force at once",
	Seed: catalogue.Seed{Doc: doc, Item: "14",
		Criterion: "ip link set mtu 1500 dev eth0 / ifconfig eth0 mtu 1500",
		Note: "The document states no criterion; implied is that it is accepted. 1500 is what a card has anyway, so that a " +
			"smaller one is set before. That it is in force shows when the guest itself may send no packet that is longer."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines().EveryModel(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"mtus": "1280 1500", "interval": "100ms", "count": "10", "time": "4s"},
		Quick: catalogue.Values{"interval": "10ms", "count": "3", "time": "1s"},
	},
	Steps: []string{
		"set the MTU to 1280, then to 1500: accepted, and the guest lists it",
		"after each ping -M do the host with the longest packet: the loss must be zero",
		"with one byte more the guest's kernel must refuse (EMSGSIZE)",
	},
	Run: func(t *catalogue.T) {
		guest := t.Guest("a")
		link := guest.Link(0).Name
		for _, mtu := range t.Ints("mtus") {
			accepts(t, guest, link, mtu)
			guest.AwaitUp(link)
			checkMTU(t, guest, mtu)
		}
	},
}

// checkMTU pings the host from the guest with packets of the MTU, and of one byte
// more.
func checkMTU(t *catalogue.T, guest *catalogue.Node, mtu int) {
	o := client.PingOptions{Target: t.Segment(catalogue.LAN).Host.Addr(), Size: mtu - headers, DontFragment: true,
		Interval: t.Duration("interval"), Count: t.Int("count")}
	t.NoLoss(fmt.Sprintf("packets of %d bytes", mtu), guest.Ping(o))
	o.Size++
	s := guest.Ping(o)
	t.Check(fmt.Sprintf("packets of %d bytes with an MTU of %d", mtu+1, mtu), "refused: "+syscall.EMSGSIZE.Error(), catalogue.Loss(s),
		s.Sent > 0 && s.Refused == s.Sent && s.RefusedErrno == syscall.EMSGSIZE, "")
}
