package vhostnet

import (
	"fmt"
	"net/netip"

	"picolab/hostctl/catalogue"
)

// Addresses of the two guests in the VLAN; the first is the other document's.
var (
	vlanA = netip.MustParsePrefix("192.168.123.11/24")
	vlanB = netip.MustParsePrefix("192.168.123.12/24")
)

var vlan = catalogue.Case{
	ID:    "vhostnet.vlan",
	Title: "Guests reach each other in the same 802.1Q VLAN only",
	Seed: catalogue.Seed{Doc: doc, Item: "6",
		Criterion: "ping the second virtual machine in the first: if the packet loss is not 100% (VLAN 10 and 20), fail; " +
			"join the second to VLAN 10: if the packet loss is not 0%, fail the whole test case",
		Note: "The tags cross a plain bridge of the host or our switch, which need no 802.1Q of its own. A full frame with its tag " +
			"is tried as well."},
	Where:    where,
	Topology: catalogue.TwoGuests().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines(),
	Needs:    append([]string{"mod.8021q"}, needs...),
	Params: catalogue.Params{
		Full:  catalogue.Values{"first": "10", "second": "20", "interval": "1s", "count": "10", "time": "1m"},
		Quick: catalogue.Values{"interval": "100ms", "time": "8s"},
	},
	Steps: []string{
		"the first guest joins VLAN 10, the second VLAN 20",
		"ping -c 10 the second from the first: the loss must be 100 %",
		"the second leaves VLAN 20 and joins VLAN 10",
		"ping -c 10 the second from the first: the loss must be 0 %, also of full frames",
		"both leave the VLAN: its links are gone",
	},
	Run: func(t *catalogue.T) {
		a, b := t.Guest("a"), t.Guest("b")
		probe := t.PlainPing(vlanB.Addr())
		inA := join(a, t.Int("first"), vlanA)
		inB := join(b, t.Int("second"), vlanB)
		t.AllLost(fmt.Sprintf("ping from VLAN %d to %d", t.Int("first"), t.Int("second")), a.Ping(probe))

		b.DelLink(inB)
		inB = join(b, t.Int("first"), vlanB)
		t.NoLoss("ping in the same VLAN", a.Ping(probe))
		probe.Size, probe.DontFragment = 1500-headers, true
		t.NoLoss("ping full frames in the same VLAN", a.Ping(probe))

		a.DelLink(inA)
		b.DelLink(inB)
		catalogue.Equal(t, "VLAN links left", 0, left(a, inA)+left(b, inB), "")
	},
}

// join makes the guest's card a member of a VLAN and returns the link's name,
// which is made as vconfig made it.
func join(n *catalogue.Node, id int, addr netip.Prefix) string {
	parent := n.Link(0).Name
	name := fmt.Sprintf("%s.%d", parent, id)
	n.AddVLAN(parent, id, name, addr)
	return name
}

// left counts the links of a name.
func left(n *catalogue.Node, name string) int {
	if n.Find(catalogue.ByName(name)) == nil {
		return 0
	}
	return 1
}
