package catalogue

import (
	"context"
	"fmt"

	"picolab/guestagent/wire"
	"picolab/hostctl/lab"
)

// Offloads are a link's features by the kernel's names.
type Offloads map[string]*wire.Feature

// Offload is the state of one of the flags of ethtool -K, behind which there are
// one or more features.
type Offload struct {
	Known bool // the kernel has a feature of it
	On    bool // one of them is active
	Fixed bool // none can be changed
}

// Of returns the state of a flag by its short name: rx, tx, sg, tso, ufo, gso,
// gro, lro.
func (o Offloads) Of(flag string) Offload {
	state := Offload{Fixed: true}
	for _, name := range wire.Offload(flag) {
		if f := o[name]; f != nil {
			state.Known = true
			state.On = state.On || f.Active
			state.Fixed = state.Fixed && !f.Changeable
		}
	}
	return state
}

// String is what ethtool -k prints of the flag.
func (o Offload) String() string {
	switch {
	case !o.Known:
		return "absent"
	case o.Fixed:
		return onOff(o.On) + " [fixed]"
	}
	return onOff(o.On)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// Offloads returns a link's features, as ethtool -k does.
func (n *Node) Offloads(link string) Offloads {
	n.did("ethtool -k %s", link)
	return n.offloads(link)
}

func (n *Node) offloads(link string) Offloads {
	return ask(n, "get features of "+link, lab.WaitAgent, 0, func(ctx context.Context) (map[string]*wire.Feature, error) {
		return n.agent.Features(ctx, link)
	})
}

// SetOffload switches a flag of ethtool -K and returns all features as they are
// then.  That the kernel refuses ends the instance as FAIL.
func (n *Node) SetOffload(link, flag string, on bool) Offloads {
	now, err := n.TryOffload(link, flag, on)
	if err != nil {
		n.blame(fmt.Sprintf("switch %s of %s %s", flag, link, onOff(on)), err)
	}
	return now
}

// TryOffload is [Node.SetOffload] that returns the guest's refusal.
func (n *Node) TryOffload(link, flag string, on bool) (Offloads, error) {
	before := n.offloads(link)
	n.did("ethtool -K %s %s %s", link, flag, onOff(on))
	var refusal error
	now := ask(n, "set features of "+link, lab.WaitLink, 0, func(ctx context.Context) (map[string]*wire.Feature, error) {
		now, err := n.agent.SetFeatures(ctx, link, map[string]bool{flag: on})
		if guestsFault(err) {
			refusal, err = err, nil
		}
		return now, err
	})
	if was := before.requested(flag); refusal == nil && len(was) > 0 {
		n.undo("restore features of "+link, lab.WaitLink, func(ctx context.Context) error {
			_, err := n.agent.SetFeatures(ctx, link, was)
			return err
		})
	}
	return now, refusal
}

// requested is what puts the features of a flag back.
func (o Offloads) requested(flag string) map[string]bool {
	want := map[string]bool{}
	for _, name := range wire.Offload(flag) {
		if f := o[name]; f != nil && f.Changeable {
			want[name] = f.Requested
		}
	}
	return want
}

// LinkStats returns a link's counters by rtnetlink's names, as ip -s link does.
func (n *Node) LinkStats(link string) map[string]uint64 {
	n.did("ip -s link show %s", link)
	return ask(n, "count frames of "+link, lab.WaitAgent, 0, func(ctx context.Context) (map[string]uint64, error) {
		return n.agent.LinkStats(ctx, link)
	})
}
