package catalogue_test

import (
	"slices"
	"strings"
	"testing"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/report"
)

// backends is a case on taps and on our switch, with virtio on both in the quick profile.
func backends(id string) *catalogue.Case {
	c := cards(id)
	c.Topology, c.Matrix = c.Topology.OnBackends(), c.Matrix.Backends("virtio")
	return c
}

func plan(t *testing.T, selector string, p catalogue.Profile) catalogue.Plan {
	t.Helper()
	set, err := catalogue.NewSet([]*catalogue.Case{backends("net.ping"), aCase("dev.info", ok)})
	if err != nil {
		t.Fatal(err)
	}
	sel, err := set.Select([]string{selector}, nil, p)
	if err != nil {
		t.Fatal(err)
	}
	all, err := catalogue.NewPlan(sel, p)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestSettle: what only stands in for a tap runs where there is none, in the full profile, and when it is named.
func TestSettle(t *testing.T) {
	tap := map[string]report.Fact{"root.tap": {Name: "root.tap", OK: true}}
	none := map[string]report.Fact{"root.tap": {Name: "root.tap"}}
	for _, tt := range []struct {
		name, selector string
		profile        catalogue.Profile
		facts          map[string]report.Fact
		want           string // the models on our switch
	}{
		{"a tap can be had", "*", catalogue.Quick, tap, "virtio"},
		{"no tap can be had", "*", catalogue.Quick, none, "virtio e1000 rtl8139"},
		{"nobody asked", "*", catalogue.Quick, nil, "virtio e1000 rtl8139"},
		{"full", "*", catalogue.Full, tap, "virtio e1000 rtl8139"},
		{"named", "net.ping[backend=vale,nic=e1000]", catalogue.Quick, tap, "e1000"},
	} {
		all := plan(t, tt.selector, tt.profile)
		settled := all.Settle(tt.facts)
		var models []string
		for _, in := range settled.Instances() {
			if b, _ := in.Value("backend"); b == catalogue.Vale {
				nic, _ := in.Value("nic")
				models = append(models, nic)
			}
		}
		if got := strings.Join(models, " "); got != tt.want {
			t.Errorf("%s: on the switch are %q, want %q", tt.name, got, tt.want)
		}
		out := len(all.IDs()) - len(settled.IDs())
		if len(settled.Excluded)-len(all.Excluded) != out {
			t.Errorf("%s: %d are gone, and excluded are %+v", tt.name, out, settled.Excluded)
		}
	}
}

// TestBackendsShareLabs: cases on taps share labs with cases that know of no backend.
func TestBackendsShareLabs(t *testing.T) {
	set, err := catalogue.NewSet([]*catalogue.Case{backends("net.ping"), cards("net.other")})
	if err != nil {
		t.Fatal(err)
	}
	sel, err := set.Select([]string{"*[nic=virtio]"}, nil, catalogue.Quick)
	if err != nil {
		t.Fatal(err)
	}
	p, err := catalogue.NewPlan(sel, catalogue.Quick)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range p.Groups {
		names = append(names, g.Topology.String())
	}
	if !slices.Equal(names, []string{"a(virtio)", "a(virtio+vale)"}) {
		t.Errorf("labs %v", names)
	}
}

// TestBackendRefused: a standin has to be for a value that there is, and a backend one that there is.
func TestBackendRefused(t *testing.T) {
	bad := backends("net.ping")
	bad.Matrix.Standins[0].For = "netmap"
	if _, err := catalogue.NewSet([]*catalogue.Case{bad}); err == nil || !strings.Contains(err.Error(), "standin 0") {
		t.Errorf("got %v", err)
	}
	bad = cards("net.ping")
	bad.Topology.Guests[0].NICs[0].Backend = "user"
	if _, err := catalogue.NewSet([]*catalogue.Case{bad}); err == nil || !strings.Contains(err.Error(), "neither tap nor vale") {
		t.Errorf("got %v", err)
	}
}
