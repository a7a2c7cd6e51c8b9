package vnic

import (
	"fmt"

	"picolab/guestagent/client"
	"picolab/hostctl/catalogue"
)

var parallelFlood = catalogue.Case{
	ID:    "vnic.parallel-flood",
	Title: "Three cards of a guest answer floods at the same time",
	Seed: catalogue.Seed{Doc: doc, Item: "10",
		Criterion: "parallel flood ping each nics through the following commands: ping -f -s {size from 0 to 1500}, 65507, 16110",
		Note: "The document states no criterion. That all survive is taken to mean that each card answers in each flood, that " +
			"a ping of each loses nothing afterwards, and that no kernel complains. The MTUs are those of item 9."},
	Where:    where,
	Topology: catalogue.ThreeCards().OnBackends().OnMachines(),
	Matrix:   catalogue.MixedCards("off").Machines().OnceEach(),
	Needs:    needs,
	Params: catalogue.Params{
		Full: catalogue.Values{
			"rtl8139-mtu": "1500", "rtl8139-sizes": "0 1 48 64 512 1440 1500",
			"e1000-mtu": "16110", "e1000-sizes": "0 1 48 64 512 1440 1500 1505 4096 4192 16110",
			"virtio-mtu": "65535", "virtio-sizes": "0 1 48 64 512 1440 1500 1505 4096 4192 32767 65507",
			"flood": "50", "interval": "1s", "count": "10", "time": "1m"},
		Quick: catalogue.Values{"interval": "50ms", "time": "8s"},
	},
	Steps: []string{
		"set the largest MTU of each card: 1500 (rtl8139), 16110 (e1000), 65535 (virtio)",
		"for all three cards at the same time, for each size: ping -f -c 50 -s SIZE from the host",
		"each flood must have answers",
		"ping each card: the loss must be zero",
		"search the kernel logs of guest and host: no panic, no oops",
	},
	Run: func(t *catalogue.T) {
		guest := t.Guest("a")
		kernels := t.Kernels()
		sizes := t.WidenModels(guest)
		floods := t.FloodCards(guest, client.PingOptions{Count: t.Int("flood")}, sizes...)
		for i, model := range catalogue.ThreeModels() {
			for j, s := range floods[i] {
				t.Check(fmt.Sprintf("flood of %s with %d bytes", model, sizes[i][j]), "answers", catalogue.Loss(s), s.Received > 0, "")
			}
		}
		t.NoLossAnywhere("afterwards", guest)
		kernels()
	},
}
