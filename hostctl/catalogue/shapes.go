package catalogue

import (
	"slices"

	"picolab/hostctl/lab"
)

// The shapes that many cases share.  Equal topologies share a booted lab, so
// these functions are where "as few boots as possible" is decided.

// LAN is the one link of the usual topologies.
const LAN = "lan"

// OneGuest is guest "a" with one card on the link [LAN], as the axes nic and
// vhost say, and a slot for a second.  The options are QEMU's, for the card.
func OneGuest(options ...string) Topology { return guests(1, options, "a") }

// TwoGuests is "a" and "b" on one link, each with one card.
func TwoGuests() Topology { return guests(0, nil, "a", "b") }

func guests(spare int, options []string, names ...string) Topology {
	top := Topology{Links: []Link{{Name: LAN}}}
	for _, name := range names {
		card := NIC{Model: "$nic", Link: LAN, Vhost: "$vhost", Options: options}
		top.Guests = append(top.Guests, Guest{Name: name, Spare: spare, NICs: []NIC{card}})
	}
	return top
}

// Backends of cards.
const (
	Tap  = lab.BackendTap  // a tap of the kernel on a bridge
	Vale = lab.BackendVale // a switch of our own
)

// BackendAxis is what the cards are on.  A tap needs leave to make one; our
// switch does all that cases do without.
func BackendAxis() Axis {
	return Axis{Name: "backend", Values: []string{Tap, Vale}, Needs: map[string][]string{Tap: {"root.tap"}}}
}

// valeVhost is why there is no vhost on our switch.
var valeVhost = Exclusion{
	When:   []Match{{Axis: "backend", In: []string{Vale}}, {Axis: "vhost", In: []string{"on"}}},
	Reason: "vhost moves a tap's rings into the kernel; our switch serves them itself",
}

// Backends runs a matrix on taps and on our switch.  The quick profile has those
// models on both, and the others on our switch only where there is no tap.
func (m Matrix) Backends(both ...string) Matrix {
	m.Axes = append([]Axis{BackendAxis()}, m.Axes...)
	m.Exclusions = append(slices.Clone(m.Exclusions), valeVhost)
	others := keepNew(both, Models().Values)
	m.Standins = append(slices.Clone(m.Standins), Standin{Axis: "backend", For: Tap,
		When: []Match{{Axis: "backend", In: []string{Vale}}, {Axis: "nic", In: others}}})
	return m
}

// OnBackends puts all cards of a topology on what the axis backend says.
func (top Topology) OnBackends() Topology {
	for i := range top.Guests {
		for j := range top.Guests[i].NICs {
			top.Guests[i].NICs[j].Backend = "$backend"
		}
	}
	return top
}

// Models are the network cards of the seeds' matrix.
func Models() Axis { return Axis{Name: "nic", Values: []string{"virtio", "e1000", "rtl8139"}} }

// VhostAxis is the seeds' {on | off}.  The quick profile has on only where the
// case asks for it, so that the list of skips stays short on hosts without it.
func VhostAxis(quick ...string) Axis {
	return Axis{Name: "vhost", Values: []string{"off", "on"}, Quick: quick,
		Needs: map[string][]string{"on": {"vhost_net"}}}
}

// Cards is the matrix of most cases: every model, vhost=on for virtio.
func Cards(vhostQuick ...string) Matrix {
	return Matrix{
		Axes: []Axis{Models(), VhostAxis(vhostQuick...)},
		Exclusions: []Exclusion{{
			When:   []Match{{Axis: "nic", In: []string{"e1000", "rtl8139"}}, {Axis: "vhost", In: []string{"on"}}},
			Reason: "vhost moves a virtio device's rings into the kernel; emulated cards have none",
		}},
	}
}

// VirtioOnly is [Cards] without the models that lack what the case is about.
func VirtioOnly(reason string) Matrix {
	m := Cards("off")
	m.Exclusions = []Exclusion{{When: []Match{{Axis: "nic", In: []string{"e1000", "rtl8139"}}}, Reason: reason}}
	return m
}
