package vnic

import (
	"bytes"
	"net"
	"os"
	"strings"

	"picolab/hostctl/catalogue"
)

var macChange = catalogue.Case{
	ID:    "vnic.mac-change",
	Title: "A changed MAC address is in use, in the guest and on the wire",
	Seed: catalogue.Seed{Doc: doc, Item: "4 and 18 (of the second two)",
		Criterion: "ifconfig eth0 down && ifconfig eth0 hw ether $new_mac && ifconfig eth0 up; ifconfig | grep -i $new_mac",
		Note: "The address is fixed instead of asked of DHCP again. Beyond what the guest says of itself, its frames " +
			"are looked at, and for virtio what the device filters by (query-rx-filter; other models do not answer it)."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"mac": "02:00:00:8a:36:ae", "interval": "1s", "count": "10", "time": "20s"},
		Quick: catalogue.Values{"interval": "100ms", "time": "2s"},
	},
	Steps: []string{
		"take the link down, set the new address, take it up",
		"the guest lists the new address",
		"the device filters by the new address (virtio)",
		"the network is back: ping -c 10 from the host loses nothing",
		"the guest's frames come from the new address, none from the old",
	},
	Run: func(t *catalogue.T) {
		if t.Axis("nic") == "vmxnet3" {
			t.XFail("QEMU's vmxnet3 goes back to its first address whenever the driver activates it (vmxnet3_activate_device " +
				"in hw/net/vmxnet3.c): one that was set while the link was down is lost")
		}
		guest := t.Guest("a")
		link, mac := guest.Link(0), t.Param("mac")
		guest.SetUp(link.Name, false)
		guest.SetMAC(link.Name, mac)
		guest.SetUp(link.Name, true)
		catalogue.Equal(t, "address the guest lists", mac, guest.LinkNamed(link.Name).Mac, link.Name)
		checkFilter(t, guest, mac)
		checkWire(t, guest, link.Name, link.Mac, mac)
	},
}

// checkFilter checks the address that the device receives for.
func checkFilter(t *catalogue.T, guest *catalogue.Node, mac string) {
	if t.Axis("nic") != "virtio" {
		return
	}
	filter := guest.RxFilter(0)
	catalogue.Equal(t, "query-rx-filter main-mac", mac, filter.MainMAC, catalogue.JSON(filter))
}

// checkWire pings the guest and looks at who the frames on the bridge come from.
func checkWire(t *catalogue.T, guest *catalogue.Node, link, before, now string) {
	host, bridge := t.Host(), t.Segment(catalogue.LAN).Bridge
	guest.AwaitUp(link)
	host.Forget(bridge, guest.Addr(0))
	const file = "mac.pcapng"
	stop := host.Record(bridge, "", file)
	t.NoLoss("ping with the new address", host.Ping(t.PlainPing(guest.Addr(0))))
	stop()
	frames, err := os.ReadFile(t.Path(file))
	if err != nil {
		t.Errorf("read capture: %v", err)
	}
	own := host.LinkNamed(bridge).Mac
	catalogue.Equal(t, "frames to the host from the new address", true, sentBy(frames, own, now), file)
	catalogue.Equal(t, "frames to the host from the old address", false, sentBy(frames, own, before), file)
}

// sentBy reports whether a capture has an Ethernet header from one address to
// another: six bytes to, six bytes from.  A pcapng file keeps frames as they are.
func sentBy(capture []byte, to, from string) bool {
	header := append(hardware(to), hardware(from)...)
	return bytes.Contains(capture, header)
}

func hardware(mac string) []byte {
	hw, err := net.ParseMAC(strings.TrimSpace(mac))
	if err != nil {
		return nil
	}
	return hw
}
