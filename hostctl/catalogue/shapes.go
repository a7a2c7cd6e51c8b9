package catalogue

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
