package vnic

import (
	"net/netip"

	"picolab/guestagent/wire"
	"picolab/hostctl/catalogue"
	"picolab/hostctl/lab"
)

var hotplugQMP = catalogue.Case{
	ID:    "vnic.hotplug-qmp",
	Title: "Plug a card in and out at run time, in both orders of removal",
	Seed: catalogue.Seed{Doc: doc, Item: "1",
		Criterion: "netdev_add and device_add: the card works; netdev_del then device_del: it is gone",
		Note: "The document states no criterion; these are implied. Its order takes the back-end away first, which is " +
			"legal and leaves the guest a card without a wire; the other order is what management tools do. Removal is " +
			"asynchronous: it is done when DEVICE_DELETED names the device, not when device_del returns. On our switch the " +
			"back-end is a socket of it, by vhost-user for virtio."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines(),
	Needs:    needs,
	Params: catalogue.Params{
		Full: catalogue.Values{"mac": "08:2e:5f:0a:0d:b2", "interval": "1s", "count": "10", "time": "1m",
			"orders": "netdev-first device-first"},
		Quick: catalogue.Values{"interval": "100ms", "time": "3s"},
	},
	Steps: []string{
		"netdev_add a tap, or a port of our switch, and device_add the card",
		"the guest has a link with the card's address; ping -c 10 through it loses nothing",
		"netdev_del, then device_del: DEVICE_DELETED comes and the link is gone",
		"the same with device_del first and netdev_del after DEVICE_DELETED",
	},
	Run: func(t *catalogue.T) {
		qmp := t.Guest("a").QMP
		hotplug(t, monitor{
			do: func(cmd string, args catalogue.Args) { qmp(cmd, args, nil) },
			socket: func(id, path string) {
				address := catalogue.Args{"type": "unix", "data": catalogue.Args{"path": path}}
				qmp("chardev-add", catalogue.Args{"id": id, "backend": catalogue.Args{"type": "socket",
					"data": catalogue.Args{"addr": address, "server": false}}}, nil)
			},
		})
	},
}

// monitor is one of QEMU's two; what it refuses ends the instance.
type monitor struct {
	do     func(cmd string, args catalogue.Args)
	socket func(id, path string) // makes a character device of a socket that listens
}

// hotplug plugs a card in and out in each of the orders.
func hotplug(t *catalogue.T, qemu monitor) {
	t.Host().AddAddr(t.Segment(catalogue.LAN).Bridge, hotHost)
	end := t.NewEnd(catalogue.LAN, t.Axis("nic"))
	for _, order := range t.Words("orders") {
		h := hotCard{t: t, guest: t.Guest("a"), qemu: qemu, mac: t.Param("mac"), order: order}
		h.plug(end)
		h.use()
		h.unplug()
	}
}

// Names of the plugged card, and the network it is used in: another than the
// first card's, so that no answer can come through that one.
const (
	hotNetdev = "hot0.net"
	hotDevice = "hot0"
	hotSocket = "hot0.sock"
)

var (
	hotHost  = netip.MustParsePrefix("10.78.0.1/24")
	hotGuest = netip.MustParsePrefix("10.78.0.2/24")
)

// hotCard is a card that is plugged in and out once.
type hotCard struct {
	t          *catalogue.T
	guest      *catalogue.Node
	qemu       monitor
	mac, order string
	plugged    bool
}

func (h *hotCard) plug(end lab.End) {
	h.plugged = true
	h.t.Cleanup(h.remove)
	if end.Rings { // netdev_del takes the socket along
		h.qemu.socket(hotSocket, end.Socket)
	}
	h.qemu.do("netdev_add", h.netdev(end))
	h.qemu.do("device_add", catalogue.Args{"driver": catalogue.Device(h.t.Axis("nic")), "netdev": hotNetdev,
		"id": hotDevice, "mac": h.mac, "bus": h.guest.Slot(0)})
	h.await("link after device_add", true)
}

// netdev is the back-end of the card: a tap as in the document, or a port of our
// switch.
func (h *hotCard) netdev(end lab.End) catalogue.Args {
	switch {
	case end.Rings:
		return catalogue.Args{"type": "vhost-user", "id": hotNetdev, "chardev": hotSocket}
	case end.Socket != "":
		return catalogue.Args{"type": "stream", "id": hotNetdev, "server": false,
			"addr": catalogue.Args{"type": "unix", "path": end.Socket}}
	}
	return catalogue.Args{"type": "tap", "id": hotNetdev, "ifname": end.Tap,
		"script": "no", "downscript": "no", "vhost": h.t.Axis("vhost") == "on"}
}

// use pings through the card.  A static neighbour makes sure that it is this
// card that receives.
func (h *hotCard) use() {
	host, bridge := h.t.Host(), h.t.Segment(catalogue.LAN).Bridge
	link := h.link()
	if link == nil {
		h.t.Fatalf("no link with address %s", h.mac)
	}
	h.guest.SetUp(link.Name, true)
	h.guest.AddAddr(link.Name, hotGuest)
	h.guest.AwaitUp(link.Name)
	host.AddNeigh(bridge, hotGuest.Addr(), h.mac)
	ping := h.t.PlainPing(hotGuest.Addr())
	ping.Source = hotHost.Addr()
	h.t.NoLoss(h.name("ping through the card"), host.Ping(ping))
}

func (h *hotCard) unplug() {
	netdevDel := func() { h.qemu.do("netdev_del", catalogue.Args{"id": hotNetdev}) }
	if h.order == "netdev-first" {
		netdevDel()
	}
	h.qemu.do("device_del", catalogue.Args{"id": hotDevice})
	event := h.guest.Event("DEVICE_DELETED", func(data map[string]any) bool { return data["device"] == hotDevice })
	catalogue.Equal(h.t, h.name("DEVICE_DELETED names the device"), any(hotDevice), event["device"], catalogue.JSON(event))
	if h.order == "device-first" {
		netdevDel()
	}
	h.await("link after device_del", false)
	h.plugged = false
}

// remove takes away what a broken-off instance left.  What is gone already is
// refused, which is as well.
func (h *hotCard) remove() {
	if !h.plugged {
		return
	}
	_ = h.guest.TryQMP("device_del", catalogue.Args{"id": hotDevice}, nil)
	_ = h.guest.TryQMP("netdev_del", catalogue.Args{"id": hotNetdev}, nil)
	_ = h.guest.TryQMP("chardev-remove", catalogue.Args{"id": hotSocket}, nil)
}

func (h *hotCard) await(what string, want bool) {
	catalogue.Await(h.t, h.name(what), lab.WaitDriver, want, func() bool { return h.link() != nil })
}

func (h *hotCard) link() *wire.Link { return h.guest.Find(catalogue.ByMAC(h.mac)) }

func (h *hotCard) name(what string) string { return what + " (" + h.order + ")" }
