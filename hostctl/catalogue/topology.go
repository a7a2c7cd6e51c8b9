package catalogue

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"picolab/hostctl/lab"
)

// Resolve returns a copy of top with every "$axis" replaced by its value.
func (top Topology) Resolve(binds []Bind) (Topology, error) {
	r := resolver{binds: binds}
	out := Topology{Links: slices.Clone(top.Links)}
	for _, g := range top.Guests {
		if g.Machine = r.value(g.Machine); g.Machine == lab.MachineQ35 { // which is the default: the lab is the same
			g.Machine = ""
		}
		g.NICs = slices.Clone(g.NICs)
		for i := range g.NICs {
			g.NICs[i] = r.nic(g.NICs[i])
		}
		out.Guests = append(out.Guests, g)
	}
	return out, r.err
}

// resolver replaces placeholders and keeps the first error.
type resolver struct {
	binds []Bind
	err   error
}

func (r *resolver) nic(n NIC) NIC {
	n.Model, n.Vhost, n.Backend, n.ROM = r.value(n.Model), r.value(n.Vhost), r.value(n.Backend), r.value(n.ROM)
	switch n.Backend {
	case Tap: // which is the default: the lab is the same
		n.Backend = ""
	case VhostUser:
		if n.Model == "virtio" { // whose way to our switch is no other
			n.Backend = Vale
		}
	case User:
		n.Link = ""
	}
	n.Options = slices.Clone(n.Options)
	for i, o := range n.Options {
		key, val, _ := strings.Cut(o, "=")
		n.Options[i] = key + "=" + r.value(val)
	}
	return n
}

func (r *resolver) value(s string) string {
	name, ok := strings.CutPrefix(s, "$")
	if !ok {
		return s
	}
	for _, b := range r.binds {
		if b.Axis == name {
			return b.Value
		}
	}
	if r.err == nil {
		r.err = fmt.Errorf("no axis %q", name)
	}
	return s
}

// Key identifies a resolved topology: instances with equal keys can share a
// booted lab.
func (top Topology) Key() string {
	b, err := json.Marshal(top)
	if err != nil { // strings and numbers only: cannot happen
		panic(err)
	}
	return string(b)
}

// String names a resolved topology for people: "a(virtio) b(virtio)".
func (top Topology) String() string {
	words := make([]string, 0, len(top.Guests))
	for _, g := range top.Guests {
		words = append(words, g.String())
	}
	return strings.Join(words, " ")
}

// String names a guest: its name and what its cards are.
func (g Guest) String() string {
	cards := make([]string, len(g.NICs))
	for i, n := range g.NICs {
		cards[i] = strings.Join(append([]string{n.Model}, n.Options...), ",")
		if n.Vhost == "on" {
			cards[i] += "+vhost"
		}
		if n.Backend != "" {
			cards[i] += "+" + n.Backend
		}
		if n.Queues > 1 {
			cards[i] += fmt.Sprintf("*%d", n.Queues)
		}
		if n.ROM == ROMShipped {
			cards[i] += "+rom"
		}
	}
	if g.CPUs > 1 {
		cards = append(cards, fmt.Sprintf("%d CPUs", g.CPUs))
	}
	if g.Machine != "" {
		cards = append(cards, g.Machine)
	}
	if g.Swap > 0 {
		cards = append(cards, "swap")
	}
	return g.Name + "(" + strings.Join(cards, " ") + ")"
}

// Validate reports what makes a resolved topology impossible to boot.
func (top Topology) Validate() error {
	links := map[string]bool{}
	for _, l := range top.Links {
		links[l.Name] = true
	}
	for _, g := range top.Guests {
		if g.Boot != lab.BootImage && g.Boot != lab.BootNet {
			return fmt.Errorf("guest %s: boot %q is neither empty nor net", g.Name, g.Boot)
		}
		for i, n := range g.NICs {
			if n.ROM != "" && n.ROM != ROMShipped && n.ROM != ROMEmpty {
				return fmt.Errorf("guest %s: NIC %d: ROM %q is neither shipped nor empty", g.Name, i, n.ROM)
			}
			if err := n.validate(links); err != nil {
				return fmt.Errorf("guest %s: NIC %d: %w", g.Name, i, err)
			}
		}
	}
	return nil
}

func (n NIC) validate(links map[string]bool) error {
	switch {
	case n.Backend != User && !links[n.Link]:
		return fmt.Errorf("no link %q", n.Link)
	case n.Vhost != "" && n.Vhost != "on" && n.Vhost != "off":
		return fmt.Errorf("vhost %q is neither on nor off", n.Vhost)
	case n.Backend == VhostUser:
		return fmt.Errorf("%s has no rings for vhost-user", n.Model)
	case n.Backend != "" && n.Backend != Tap && n.Backend != Vale && n.Backend != User:
		return fmt.Errorf("backend %q is none of tap, vale, vhost-user, user", n.Backend)
	}
	return nil
}
