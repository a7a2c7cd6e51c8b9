package catalogue_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"picolab/hostctl/catalogue"
)

// pairing is a case on everything that cards can be on, in everything they can be in.
func pairing(id string, m catalogue.Matrix) *catalogue.Case {
	c := aCase(id, ok)
	c.Topology, c.Matrix = catalogue.OneGuest().OnBackends().OnMachines(), m
	return c
}

// selection is what a profile has of a case.
func selection(t *testing.T, c *catalogue.Case, selector string, axes map[string][]string, p catalogue.Profile) []catalogue.Instance {
	t.Helper()
	set, err := catalogue.NewSet([]*catalogue.Case{c})
	if err != nil {
		t.Fatal(err)
	}
	sel, err := set.Select([]string{selector}, axes, p)
	if err != nil {
		t.Fatal(err)
	}
	return sel.Instances
}

func ids(instances []catalogue.Instance) string {
	var words []string
	for _, in := range instances {
		words = append(words, strings.TrimPrefix(in.ID(), in.Case.ID))
	}
	return strings.Join(words, " ")
}

// pairsOf are any two values of instances, with how many instances have them.
func pairsOf(instances []catalogue.Instance) map[string]int {
	pairs := map[string]int{}
	for _, in := range instances {
		for i, a := range in.Binds {
			for _, b := range in.Binds[i:] {
				pairs[fmt.Sprint(a, b)]++
			}
		}
	}
	return pairs
}

// TestPairs shows that the quick profile has all pairs of the quick values that are in an instance, in not many more
// instances than the two largest axes have pairs.
func TestPairs(t *testing.T) {
	for name, tt := range map[string]struct {
		matrix catalogue.Matrix
		want   int
	}{
		"documents' models": {catalogue.Cards("off").Backends().Machines(), 6},
		"every model":       {catalogue.Cards("off").Backends().Machines().EveryModel(), 12},
		"one machine":       {catalogue.Cards("off").Backends().Machines("q35").EveryModel(), 12},
		"virtio":            {catalogue.VirtioOnly("why").AnyBackend().Machines(), 4},
		"virtio, vhost":     {catalogue.Cards().Backends().Machines(), 8},
	} {
		c := pairing("s.c", tt.matrix)
		quick := selection(t, c, "s.c", nil, catalogue.Quick)
		if len(quick) != tt.want {
			t.Errorf("%s: %d instances, want %d: %s", name, len(quick), tt.want, ids(quick))
		}
		have := pairsOf(quick)
		for pair := range pairsOf(ofQuickValues(c, selection(t, c, "s.c", nil, catalogue.Full))) {
			if have[pair] == 0 {
				t.Errorf("%s: no instance has %s", name, pair)
			}
		}
	}
}

// ofQuickValues are the instances that have none but quick values.
func ofQuickValues(c *catalogue.Case, all []catalogue.Instance) []catalogue.Instance {
	return slices.DeleteFunc(all, func(in catalogue.Instance) bool {
		for _, a := range c.Matrix.Axes {
			if v, _ := in.Value(a.Name); len(a.Quick) > 0 && !slices.Contains(a.Quick, v) {
				return true
			}
		}
		return false
	})
}

// TestPairsAreThose pins the combinations: cases of the same axes share labs because they are the same everywhere, with more
// models and with vhost too.
func TestPairsAreThose(t *testing.T) {
	const seed = "[backend=tap,machine=q35,nic=virtio,vhost=off] [backend=tap,machine=q35,nic=e1000,vhost=off] [backend=tap,machine=pc,nic=rtl8139,vhost=off] " +
		"[backend=vale,machine=pc,nic=virtio,vhost=off] [backend=vale,machine=pc,nic=e1000,vhost=off] [backend=vale,machine=q35,nic=rtl8139,vhost=off]"
	plain := pairing("s.c", catalogue.Cards("off").Backends().Machines())
	if got := ids(selection(t, plain, "s.c", nil, catalogue.Quick)); got != seed {
		t.Errorf("got  %s\nwant %s", got, seed)
	}
	for _, more := range []catalogue.Matrix{catalogue.Cards("off").Backends().Machines().EveryModel(), catalogue.Cards().Backends().Machines()} {
		got := ids(selection(t, pairing("s.c", more), "s.c", nil, catalogue.Quick))
		for _, id := range strings.Fields(seed) {
			if !strings.Contains(got, id) {
				t.Errorf("no %s in %s", id, got)
			}
		}
	}
}

// TestOnceEach shows that a case that takes long has each value, on the labs that others have.
func TestOnceEach(t *testing.T) {
	c := pairing("s.c", catalogue.Cards("off").Backends().Machines().OnceEach())
	const want = "[backend=tap,machine=q35,nic=virtio,vhost=off] [backend=tap,machine=pc,nic=rtl8139,vhost=off] [backend=vale,machine=pc,nic=e1000,vhost=off]"
	if got := ids(selection(t, c, "s.c", nil, catalogue.Quick)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := selection(t, c, "s.c", nil, catalogue.Full); len(got) != 26 {
		t.Errorf("full has %d instances, want 26", len(got))
	}
}

// TestPairsNarrowed shows what is left of the pairs when values are asked for.
func TestPairsNarrowed(t *testing.T) {
	c := pairing("s.c", catalogue.Cards("off").Backends().Machines())
	for _, tt := range []struct {
		name, selector string
		axes           []string
		want           string
	}{
		{"a part of the usual run", "s.c[nic=virtio]", nil,
			"[backend=tap,machine=q35,nic=virtio,vhost=off] [backend=vale,machine=pc,nic=virtio,vhost=off]"},
		{"by --set", "s.c", []string{"backend=tap", "machine=pc"}, "[backend=tap,machine=pc,nic=rtl8139,vhost=off]"},
		{"one that the usual run has not", "s.c[backend=tap,machine=pc,nic=virtio]", nil, "[backend=tap,machine=pc,nic=virtio,vhost=off]"},
		{"a model that the usual run has not", "s.c[nic=vmxnet3]", []string{"backend=tap"},
			"[backend=tap,machine=q35,nic=vmxnet3,vhost=off] [backend=tap,machine=pc,nic=vmxnet3,vhost=off]"},
		{"a backend that it has not", "s.c[backend=vhost-user]", nil,
			"[backend=vhost-user,machine=q35,nic=virtio,vhost=off] [backend=vhost-user,machine=pc,nic=virtio,vhost=off]"},
		{"vhost", "s.c[vhost=on]", nil, "[backend=tap,machine=q35,nic=virtio,vhost=on] [backend=tap,machine=pc,nic=virtio,vhost=on]"},
		{"none", "s.c[backend=user]", nil, ""},
	} {
		axes, err := catalogue.ParseAxes(tt.axes)
		if err != nil {
			t.Fatal(err)
		}
		if got := ids(selection(t, c, tt.selector, axes, catalogue.Quick)); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// TestLabsOfBackends shows which backends and machines are the same lab.
func TestLabsOfBackends(t *testing.T) {
	set, err := catalogue.NewSet([]*catalogue.Case{pairing("net.c", catalogue.VirtioOnly("why").AnyBackend().Machines()), cards("net.other")})
	if err != nil {
		t.Fatal(err)
	}
	sel, err := set.Select([]string{"*[nic=virtio]"}, map[string][]string{"vhost": {"off"}}, catalogue.Full)
	if err != nil {
		t.Fatal(err)
	}
	p, err := catalogue.NewPlan(sel, catalogue.Full)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range p.Groups {
		names = append(names, fmt.Sprintf("%v %d", g.Topology, len(g.Instances)))
	}
	want := []string{"a(virtio) 2", "a(virtio pc) 1", "a(virtio+vale) 2", "a(virtio+vale pc) 2", "a(virtio+user) 1", "a(virtio+user pc) 1"}
	if !slices.Equal(names, want) {
		t.Errorf("labs %v", names)
	}
}

// TestBackendRefused: a backend has to be one that there is, and fit the card.
func TestBackendRefused(t *testing.T) {
	for model, backend := range map[string]string{"virtio": "netmap", "e1000": catalogue.VhostUser} {
		c := cards("net.ping")
		c.Topology.Guests[0].NICs[0] = catalogue.NIC{Model: model, Link: catalogue.LAN, Backend: backend}
		if _, err := catalogue.NewSet([]*catalogue.Case{c}); err == nil || !strings.Contains(err.Error(), "vhost-user") {
			t.Errorf("%s on %s: %v", model, backend, err)
		}
	}
}
