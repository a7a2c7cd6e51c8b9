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
	Tap       = lab.BackendTap       // a tap of the kernel on a bridge
	Vale      = lab.BackendVale      // a switch of our own
	VhostUser = lab.BackendVhostUser // the same by vhost-user, which is how virtio joins it
	User      = lab.BackendUser      // QEMU's own IP stack
)

// BackendAxis is what the cards are on.  A tap needs leave to make one; our
// switch does all that cases do without.
func BackendAxis() Axis {
	return Axis{Name: "backend", Values: []string{Tap, Vale}, Alike: true, Needs: map[string][]string{Tap: {"root.tap"}}}
}

// Why there is no such combination.
var (
	onlyTapVhost = Exclusion{
		When:   []Match{{Axis: "backend", In: []string{Vale, VhostUser, User}}, {Axis: "vhost", In: []string{"on"}}},
		Reason: "vhost moves a tap's rings into the kernel; our switch serves them itself, and QEMU's own stack has no file to hand over",
	}
	onlyVirtioVhostUser = Exclusion{
		When:   []Match{{Axis: "backend", In: []string{VhostUser}}, {Axis: "nic", In: emulated}},
		Reason: "vhost-user serves a virtio device's rings; emulated cards have none and join our switch by a socket, which is backend vale",
	}
	notBehindUser = Exclusion{
		When:   []Match{{Axis: "backend", In: []string{User}}},
		Reason: "on QEMU's own IP stack the guest is on no link: the host does not reach it, nor see its frames",
	}
	onlyExpressIGB = Exclusion{
		When:   []Match{{Axis: "nic", In: []string{"igb"}}, {Axis: "machine", In: []string{"pc"}}},
		Reason: "igb is a PCI Express card, and machine pc has PCI slots only",
	}
)

// Backends runs a matrix on everything a card can be on with a link: taps, our
// switch, and in the full profile vhost-user by name.  The pairs of the quick
// profile have every model on both of the first.
func (m Matrix) Backends() Matrix { return m.AnyBackend().without(notBehindUser) }

// AnyBackend is [Matrix.Backends] for cases that look at nothing but the guest
// and its QEMU: the full profile has their cards on QEMU's own IP stack as well.
func (m Matrix) AnyBackend() Matrix {
	axis := BackendAxis()
	axis.Quick, axis.Values = axis.Values, append(slices.Clone(axis.Values), VhostUser, User)
	m.Axes = append([]Axis{axis}, m.Axes...)
	return m.without(onlyTapVhost, onlyVirtioVhostUser)
}

// Machines runs a matrix on both of QEMU's PC chipsets; the quick profile on
// those that are named, or both.
func (m Matrix) Machines(quick ...string) Matrix {
	m.Axes = append(slices.Clone(m.Axes), Axis{Name: "machine", Values: []string{lab.MachineQ35, lab.MachinePC}, Quick: quick})
	return m.without(onlyExpressIGB)
}

// EveryModel has the quick profile run all models and not the documents' alone.
func (m Matrix) EveryModel() Matrix { return m.Quickly("nic") }

// Quickly narrows an axis in the quick profile.
func (m Matrix) Quickly(axis string, values ...string) Matrix {
	m.Axes = slices.Clone(m.Axes)
	for i := range m.Axes {
		if m.Axes[i].Name == axis {
			m.Axes[i].Quick = values
		}
	}
	return m
}

// OnceEach has the quick profile run so many instances only that each value is in
// one: for cases that take long.
func (m Matrix) OnceEach() Matrix {
	m.Sparse = true
	return m
}

// without adds exclusions, as far as they are about axes and values of the matrix.
func (m Matrix) without(exclusions ...Exclusion) Matrix {
	m.Exclusions = slices.Clone(m.Exclusions)
	for _, ex := range exclusions {
		when := slices.Clone(ex.When)
		for i := range when {
			when[i].In = keep(m.values(when[i].Axis), when[i].In)
		}
		if !slices.ContainsFunc(when, func(w Match) bool { return len(w.In) == 0 }) {
			m.Exclusions = append(m.Exclusions, Exclusion{When: when, Reason: ex.Reason})
		}
	}
	return m
}

// values returns the values of an axis, none when there is no such axis.
func (m Matrix) values(axis string) []string {
	for _, a := range m.Axes {
		if a.Name == axis {
			return a.Values
		}
	}
	return nil
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

// OnMachines makes all guests of a topology what the axis machine says.
func (top Topology) OnMachines() Topology {
	for i := range top.Guests {
		top.Guests[i].Machine = "$machine"
	}
	return top
}

// The models of network cards: those of the seeds' matrix, and of emulated ones
// all that the images have drivers for.
var (
	seedModels = []string{"virtio", "e1000", "rtl8139"}
	emulated   = []string{"e1000", "rtl8139", "e1000e", "igb", "vmxnet3"}
)

// Models are the network cards.  The quick profile has those of the seeds'
// matrix, unless a case asks for [Matrix.EveryModel].
func Models() Axis {
	return Axis{Name: "nic", Values: append(slices.Clone(seedModels), emulated[2:]...), Quick: seedModels}
}

// VhostAxis is the seeds' {on | off}.  The quick profile has on only where the
// case asks for it, so that the list of skips stays short on hosts without it.
func VhostAxis(quick ...string) Axis {
	return Axis{Name: "vhost", Values: []string{"off", "on"}, Quick: quick, Late: []string{"on"},
		Needs: map[string][]string{"on": {"vhost_net"}}}
}

// Cards is the matrix of most cases: every model, vhost=on for virtio.
func Cards(vhostQuick ...string) Matrix {
	return Matrix{
		Axes: []Axis{Models(), VhostAxis(vhostQuick...)},
		Exclusions: []Exclusion{{
			When:   []Match{{Axis: "nic", In: emulated}, {Axis: "vhost", In: []string{"on"}}},
			Reason: "vhost moves a virtio device's rings into the kernel; emulated cards have none",
		}},
	}
}

// VirtioOnly is [Cards] without the models that lack what the case is about.
func VirtioOnly(reason string) Matrix {
	m := Cards("off")
	m.Exclusions = []Exclusion{{When: []Match{{Axis: "nic", In: emulated}}, Reason: reason}}
	return m
}
