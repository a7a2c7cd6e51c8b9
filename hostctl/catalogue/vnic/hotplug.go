package vnic

import (
	"net/netip"

	"picolab/guestagent/client"
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
			"asynchronous: it is done when DEVICE_DELETED names the device, not when device_del returns."},
	Where:    where,
	Topology: catalogue.OneGuest(),
	Matrix:   catalogue.Cards("off"),
	Needs:    []string{"root.tap"},
	Params: catalogue.Params{
		Full: catalogue.Values{"mac": "08:2e:5f:0a:0d:b2", "interval": "1s", "count": "10", "time": "1m",
			"orders": "netdev-first device-first"},
		Quick: catalogue.Values{"interval": "100ms", "time": "10s"},
	},
	Steps: []string{
		"netdev_add a tap and device_add the card",
		"the guest has a link with the card's address; ping -c 10 through it loses nothing",
		"netdev_del, then device_del: DEVICE_DELETED comes and the link is gone",
		"the same with device_del first and netdev_del after DEVICE_DELETED",
	},
	Run: func(t *catalogue.T) {
		t.Host().AddAddr(t.Segment(catalogue.LAN).Bridge, hotHost)
		tap := t.NewTap(catalogue.LAN)
		for _, order := range t.Words("orders") {
			h := hotCard{t: t, guest: t.Guest("a"), mac: t.Param("mac"), order: order}
			h.plug(tap)
			h.use()
			h.unplug()
		}
	},
}

// Names of the plugged card, and the network it is used in: another than the
// first card's, so that no answer can come through that one.
const (
	hotNetdev = "hot0.net"
	hotDevice = "hot0"
)

var (
	hotHost  = netip.MustParsePrefix("10.78.0.1/24")
	hotGuest = netip.MustParsePrefix("10.78.0.2/24")
)

// hotCard is a card that is plugged in and out once.
type hotCard struct {
	t          *catalogue.T
	guest      *catalogue.Node
	mac, order string
	plugged    bool
}

func (h *hotCard) plug(tap string) {
	h.plugged = true
	h.t.Cleanup(h.remove)
	h.guest.QMP("netdev_add", catalogue.Args{"type": "tap", "id": hotNetdev, "ifname": tap,
		"script": "no", "downscript": "no", "vhost": h.t.Axis("vhost") == "on"}, nil)
	h.guest.QMP("device_add", catalogue.Args{"driver": catalogue.Device(h.t.Axis("nic")), "netdev": hotNetdev,
		"id": hotDevice, "mac": h.mac, "bus": h.guest.Slot(0)}, nil)
	h.await("link after device_add", true)
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
	h.t.NoLoss(h.name("ping through the card"), host.Ping(client.PingOptions{Target: hotGuest.Addr(), Source: hotHost.Addr(),
		Size: 56, Interval: h.t.Duration("interval"), Count: h.t.Int("count")}))
}

func (h *hotCard) unplug() {
	if h.order == "netdev-first" {
		h.guest.QMP("netdev_del", catalogue.Args{"id": hotNetdev}, nil)
	}
	h.guest.QMP("device_del", catalogue.Args{"id": hotDevice}, nil)
	event := h.guest.Event("DEVICE_DELETED", func(data map[string]any) bool { return data["device"] == hotDevice })
	catalogue.Equal(h.t, h.name("DEVICE_DELETED names the device"), any(hotDevice), event["device"], catalogue.JSON(event))
	if h.order == "device-first" {
		h.guest.QMP("netdev_del", catalogue.Args{"id": hotNetdev}, nil)
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
}

func (h *hotCard) await(what string, want bool) {
	catalogue.Await(h.t, h.name(what), lab.WaitDriver, want, func() bool { return h.link() != nil })
}

func (h *hotCard) link() *wire.Link { return h.guest.Find(catalogue.ByMAC(h.mac)) }

func (h *hotCard) name(what string) string { return what + " (" + h.order + ")" }
