package vnic

import (
	"picolab/hostctl/catalogue"
	"picolab/hostctl/lab"
)

// statusFeature is VIRTIO_NET_F_STATUS (virtio 1.3, 5.1.3).
const statusFeature = 16

var linkStatusOn = catalogue.Case{
	ID:    "vnic.link-status-on",
	Title: "The guest sees its link go down and up with set_link",
	Seed: catalogue.Seed{Doc: doc, Item: "2 (of the first two) and 20",
		Criterion: "status=on: operstate is up; (qemu) set_link net0 off: operstate is down",
		Note: "status=on is QEMU's default. The document asks it of virtio; e1000 and rtl8139 have a link to lose as " +
			"well. The link is put on again with the id that put it off: off by netdev and on by device leaves the " +
			"guest up and the wire dead."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines().EveryModel(),
	Needs:    needs,
	Params:   catalogue.Params{Full: catalogue.Values{"interval": "100ms", "count": "3", "time": "1s"}},
	Steps: []string{
		"read /sys/class/net/LINK/operstate: up",
		"set_link off: operstate becomes down",
		"set_link on: operstate becomes up, and a ping is answered",
	},
	Run: func(t *catalogue.T) {
		guest := t.Guest("a")
		link := guest.Link(0).Name
		operstate := func() string { return guest.Operstate(link) }
		catalogue.Await(t, "operstate with status=on", lab.WaitLink, "up", operstate)
		setLink(t, guest, false)
		catalogue.Await(t, "operstate after set_link off", lab.WaitLink, "down", operstate)
		setLink(t, guest, true)
		catalogue.Await(t, "operstate after set_link on", lab.WaitLink, "up", operstate)
		t.NoLoss("ping afterwards", t.Host().Ping(t.PlainPing(guest.Addr(0))))
	},
}

var linkStatusOff = catalogue.Case{
	ID:    "vnic.link-status-off",
	Title: "Without the status feature set_link does not reach the guest",
	Seed: catalogue.Seed{Doc: doc, Item: "2 (of the first two) and 20",
		Criterion: "status=off: the output of /sys/class/net/eth0/operstate: unknown, no matter set_link on or off"},
	Where:    where,
	Topology: catalogue.OneGuest("status=off").OnBackends().OnMachines(),
	Matrix:   catalogue.VirtioOnly("status is a property of virtio-net alone").AnyBackend().Machines("q35"),
	Needs:    needs,
	Steps: []string{
		"boot with status=off: the device does not offer feature bit 16",
		"read /sys/class/net/LINK/operstate",
		"set_link off and read it again, set_link on and read it again: it stays as it was",
	},
	Deviations: []catalogue.Deviant{
		always("operstate with status=off"),
		always("operstate after set_link off"),
		always("operstate after set_link on"),
	},
	Run: func(t *catalogue.T) {
		guest := t.Guest("a")
		link := guest.Link(0).Name
		checkFeature(t, guest, statusFeature, "VIRTIO_NET_F_STATUS", '0')
		stays(t, guest, link, "operstate with status=off")
		setLink(t, guest, false)
		stays(t, guest, link, "operstate after set_link off")
		setLink(t, guest, true)
		stays(t, guest, link, "operstate after set_link on")
	},
}

// always is the deviation of a check of link-status-off.
func always(check string) catalogue.Deviant {
	return catalogue.Deviant{Check: check, Seed: "unknown", Modern: "up",
		Reason: "older virtio_net left the carrier's state unknown when the device has no status feature; " +
			"today's takes the carrier up at probe, and nothing can take it down"}
}

// stays checks operstate against the deviation.  That something does not happen
// is looked at once, after the guest has answered for a whole round trip.
func stays(t *catalogue.T, guest *catalogue.Node, link, check string) {
	got := guest.Operstate(link)
	t.Deviate(check, got, got == "up", "/sys/class/net/"+link+"/operstate")
}

// setLink is the monitor's set_link for the guest's first card, put on again when
// the instance ends.
func setLink(t *catalogue.T, guest *catalogue.Node, up bool) {
	device := guest.Card(0).Device
	if !up {
		t.Cleanup(func() { guest.QMP("set_link", catalogue.Args{"name": device, "up": true}, nil) })
	}
	guest.QMP("set_link", catalogue.Args{"name": device, "up": up}, nil)
}
