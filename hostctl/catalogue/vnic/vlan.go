package vnic

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"

	"picolab/guestagent/client"
	"picolab/hostctl/catalogue"
	"picolab/hostctl/lab"
)

var vlan = catalogue.Case{
	ID:    "vnic.vlan",
	Title: "An 802.1Q link comes up, tags what it sends, and goes",
	Seed: catalogue.Seed{Doc: doc, Item: "7",
		Criterion: "vconfig add eth0 10; ifconfig eth0.10 192.168.123.11 (ip link add link eth0 name eth0.1 type vlan id 1); " +
			"vconfig rem eth0.10 (ip link delete eth0.1)",
		Note: "The document states no criterion; implied is that the link is up, and gone. Beyond that the wire is looked " +
			"at from the host, which needs no 802.1Q of its own: nobody else is in the VLAN, so the frame to look for is " +
			"the guest's question who has an address (ARP)."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines(),
	Needs:    append([]string{"mod.8021q"}, needs...),
	Params: catalogue.Params{
		Full: catalogue.Values{"ids": "10 1", "address": "192.168.123.11/24", "neighbour": "192.168.123.12",
			"interval": "100ms", "count": "3", "time": "3s"},
	},
	Steps: []string{
		"for VLAN 10 and 1: add the link, take it up, give it 192.168.123.11",
		"its operstate becomes up",
		"what it sends carries the VLAN's tag",
		"untagged frames pass as before: ping the guest from the host, the loss must be zero",
		"remove the link: it is gone",
	},
	Run: func(t *catalogue.T) {
		guest := t.Guest("a")
		addr, err := netip.ParsePrefix(t.Param("address"))
		if err != nil {
			t.Errorf("parameter address: %v", err)
		}
		for _, id := range t.Ints("ids") {
			parent := guest.Link(0)
			name := fmt.Sprintf("%s.%d", parent.Name, id)
			guest.AddVLAN(parent.Name, id, name, addr)
			catalogue.Await(t, "operstate of "+name, lab.WaitLink, "up", func() string { return guest.Operstate(name) })
			checkTag(t, guest, parent.Mac, id)
			t.NoLoss(fmt.Sprintf("ping beside VLAN %d", id), t.Host().Ping(t.PlainPing(guest.Addr(0))))
			guest.DelLink(name)
			catalogue.Equal(t, name+" is there after its removal", false, guest.Find(catalogue.ByName(name)) != nil, "")
		}
	},
}

// checkTag has the guest ask for an address in a VLAN and looks for the question
// on the host's side of the link.
func checkTag(t *catalogue.T, guest *catalogue.Node, mac string, id int) {
	file := fmt.Sprintf("vlan-%d.pcapng", id)
	neighbour, err := netip.ParseAddr(t.Param("neighbour"))
	if err != nil {
		t.Errorf("parameter neighbour: %v", err)
	}
	stop := t.Host().Record(t.Segment(catalogue.LAN).Bridge, "", file)
	lost := guest.Ping(client.PingOptions{Target: neighbour, Size: 56, Count: 1, Interval: t.Duration("interval"),
		Timeout: t.Timeout(lab.WaitPing) / 10})
	stop()
	t.Logf("ping of nobody in VLAN %d: %s", id, catalogue.Loss(lost))
	asked := "no question of the guest's"
	for _, f := range t.Frames(file) {
		if tag, ok := arpTag(f.Data, mac); ok {
			asked = tag
		}
	}
	catalogue.Equal(t, fmt.Sprintf("tag of what VLAN %d sends", id), fmt.Sprintf("802.1Q, VLAN %d", id), asked, file)
}

// arpTag says what tag a broadcast ARP frame from an address carries.
func arpTag(frame []byte, from string) (tag string, ok bool) {
	const etherARP, etherVLAN = 0x0806, 0x8100
	header := append(bytes.Repeat([]byte{0xff}, 6), hardware(from)...)
	if len(frame) < 18 || !bytes.HasPrefix(frame, header) {
		return "", false
	}
	switch kind := binary.BigEndian.Uint16(frame[12:]); {
	case kind == etherARP:
		return "none", true
	case kind == etherVLAN && binary.BigEndian.Uint16(frame[16:]) == etherARP:
		return fmt.Sprintf("802.1Q, VLAN %d", binary.BigEndian.Uint16(frame[14:])&0xfff), true
	}
	return "", false
}
