package catalogue_test

import (
	"strings"
	"testing"

	"picolab/hostctl/catalogue"
)

// cards is a case over the seeds' axes.
func cards(id string) *catalogue.Case {
	c := aCase(id, ok)
	c.Topology, c.Matrix = catalogue.OneGuest(), catalogue.Cards("off")
	return c
}

func aSet(t *testing.T) *catalogue.Set {
	t.Helper()
	set, err := catalogue.NewSet([]*catalogue.Case{cards("net.ping"), cards("net.ping-flood")}, []*catalogue.Case{aCase("dev.info", ok)})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestSelect(t *testing.T) {
	const virtio, e1000, rtl = "net.ping[nic=virtio,vhost=off]", "net.ping[nic=e1000,vhost=off]", "net.ping[nic=rtl8139,vhost=off]"
	tests := []struct {
		name      string
		selectors []string
		axes      []string
		profile   catalogue.Profile
		want      string // ids, or what the error says
	}{
		{"an id", []string{"net.ping"}, nil, catalogue.Quick, virtio + " " + e1000 + " " + rtl},
		{"an id with an axis", []string{"net.ping[nic=e1000]"}, nil, catalogue.Quick, e1000},
		{"two values of an axis", []string{"net.ping[nic=e1000,nic=rtl8139]"}, nil, catalogue.Quick, e1000 + " " + rtl},
		{"a case without axes", []string{"dev.info"}, nil, catalogue.Quick, "dev.info"},
		{"a suite", []string{"dev"}, nil, catalogue.Quick, "dev.info"},
		{"a pattern", []string{"*.ping[nic=virtio]"}, nil, catalogue.Quick, virtio},
		{"one letter", []string{"de?.info"}, nil, catalogue.Quick, "dev.info"},
		{"catalogue order, each once", []string{"dev", "net.ping[nic=virtio]", "net.ping[nic=virtio]"}, nil, catalogue.Quick, virtio + " dev.info"},
		{"full has what quick leaves out", []string{"net.ping[nic=virtio]"}, nil, catalogue.Full, virtio + " net.ping[nic=virtio,vhost=on]"},
		{"a named value that quick leaves out", []string{"net.ping[nic=virtio,vhost=on]"}, nil, catalogue.Quick, "net.ping[nic=virtio,vhost=on]"},
		{"set", []string{"net.ping"}, []string{"nic=e1000"}, catalogue.Quick, e1000},
		{"set with two values", []string{"net.ping"}, []string{"nic=e1000,virtio"}, catalogue.Quick, virtio + " " + e1000},
		{"set leaves cases without the axis", []string{"dev", "net.ping"}, []string{"nic=e1000"}, catalogue.Quick, e1000 + " dev.info"},
		{"set and selector have nothing in common", []string{"net.ping[nic=virtio]"}, []string{"nic=e1000"}, catalogue.Quick, ""},
		{"an excluded combination", []string{"net.ping[nic=e1000,vhost=on]"}, nil, catalogue.Quick, ""},

		{"no such case", []string{"net.pong"}, nil, catalogue.Quick, "no such case"},
		{"one of two is no case", []string{"dev", "x"}, nil, catalogue.Quick, "no such case"},
		{"an axis the case lacks", []string{"dev.info[nic=e1000]"}, nil, catalogue.Quick, "no such case"},
		{"a value the axis lacks", []string{"net.ping[nic=ne2000]"}, nil, catalogue.Quick, "the values are virtio, e1000, rtl8139"},
		{"a value no case has", []string{"*[nic=ne2000]"}, nil, catalogue.Quick, "the values are virtio, e1000, rtl8139"},
		{"no closing bracket", []string{"net.ping[nic=e1000"}, nil, catalogue.Quick, "no closing bracket"},
		{"no value", []string{"net.ping[nic]"}, nil, catalogue.Quick, "not axis=value"},
		{"nothing before the bracket", []string{"[nic=e1000]"}, nil, catalogue.Quick, "not an id, a suite or a pattern"},
		{"set of no axis", nil, []string{"colour=red"}, catalogue.Quick, "no selected case has the axis colour"},
		{"set of no value", nil, []string{"nic=red"}, catalogue.Quick, "the values are"},
		{"no profile", nil, nil, "slow", "neither quick nor full"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := selected(t, tt.selectors, tt.axes, tt.profile); got != tt.want && !(tt.want != "" && strings.Contains(got, tt.want)) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// selected returns the ids a selection has, or its error.
func selected(t *testing.T, selectors, words []string, p catalogue.Profile) string {
	t.Helper()
	axes, err := catalogue.ParseAxes(words)
	if err != nil {
		t.Fatal(err)
	}
	sel, err := aSet(t).Select(selectors, axes, p)
	if err != nil {
		return err.Error()
	}
	var ids []string
	for _, in := range sel.Instances {
		ids = append(ids, in.ID())
	}
	return strings.Join(ids, " ")
}

// TestExclusionsAreExplained shows that what is left out is listed, once.
func TestExclusionsAreExplained(t *testing.T) {
	sel, err := aSet(t).Select([]string{"net.ping", "net.*"}, nil, catalogue.Full)
	if err != nil {
		t.Fatal(err)
	}
	if len(sel.Excluded) != 10 || sel.Excluded[0].Instance != "net.ping[nic=e1000,vhost=on]" || sel.Excluded[0].Reason == "" {
		t.Errorf("excluded %v", sel.Excluded)
	}
}

// TestBadCases shows that a case that is written wrongly does not get into a
// set.
func TestBadCases(t *testing.T) {
	tests := map[string]func(*catalogue.Case){
		"id":                        func(c *catalogue.Case) { c.ID = "Ping" },
		"no title, steps or Run":    func(c *catalogue.Case) { c.Run = nil },
		"seed names no document":    func(c *catalogue.Case) { c.Seed.Criterion = "" },
		"no place":                  func(c *catalogue.Case) { c.Where = nil },
		"in quick and not in full":  func(c *catalogue.Case) { c.Params.Quick = catalogue.Values{"other": "1"} },
		"none of its values":        func(c *catalogue.Case) { c.Matrix.Axes[0].Quick = []string{"ne2000"} },
		"not a plain word":          func(c *catalogue.Case) { c.Matrix.Axes[0].Values = []string{"a,b"} },
		"no name or no values":      func(c *catalogue.Case) { c.Matrix.Axes[0].Values = nil },
		"needs of":                  func(c *catalogue.Case) { c.Matrix.Axes[0].Needs = map[string][]string{"x": {"kvm"}} },
		"no reason or no condition": func(c *catalogue.Case) { c.Matrix.Exclusions[0].Reason = "" },
		"no axis \"colour\"":        func(c *catalogue.Case) { c.Matrix.Exclusions[0].When[0].Axis = "colour" },
		"has no value \"red\"":      func(c *catalogue.Case) { c.Matrix.Exclusions[0].When[0].In = []string{"red"} },
		"no link \"wan\"":           func(c *catalogue.Case) { c.Topology.Guests[0].NICs[0].Link = "wan" },
		"no axis \"shape\"":         func(c *catalogue.Case) { c.Topology.Guests[0].NICs[0].Options = []string{"x=$shape"} },
		"neither on nor off":        func(c *catalogue.Case) { c.Topology.Guests[0].NICs[0].Vhost = "maybe" },
	}
	for want, spoil := range tests {
		c := cards("net.ping")
		spoil(c)
		if _, err := catalogue.NewSet([]*catalogue.Case{c}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := catalogue.NewSet([]*catalogue.Case{cards("net.ping"), cards("net.ping")}); err == nil {
		t.Error("one id twice was taken")
	}
}

// TestPlanGroups shows that topologies come in the order of their first
// instance, with the values put in.
func TestPlanGroups(t *testing.T) {
	sel, err := aSet(t).Select(nil, nil, catalogue.Quick)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := catalogue.NewPlan(sel, catalogue.Quick)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, g := range plan.Groups {
		got = append(got, g.Topology.String())
	}
	if want := "a(virtio) a(e1000) a(rtl8139) a(virtio)"; strings.Join(got, " ") != want {
		t.Errorf("groups %v, want %s", got, want)
	}
	if ids := plan.IDs(); len(ids) != 7 || ids[1] != "net.ping-flood[nic=virtio,vhost=off]" {
		t.Errorf("ids %v", ids)
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "10": 10, "10B": 10, "3KiB": 3072, "32MiB": 32 << 20, "5000 MiB": 5000 << 20,
		"-1": -1, "": -1, "MiB": -1, "1.5MiB": -1, "9999999999GiB": -1, "10MB": -1} {
		got, err := catalogue.ParseSize(text)
		if (err != nil) != (want < 0) || (err == nil && got != want) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

// FuzzParseSelector looks for a selector that breaks selecting.
func FuzzParseSelector(f *testing.F) {
	for _, s := range []string{"vnic", "*.ping*", "a.b[nic=virtio,vhost=on]", "[", "a[", "a[]", "a[b=]", "\\", "a.[b]=c]"} {
		f.Add(s)
	}
	set, err := catalogue.NewSet([]*catalogue.Case{cards("net.ping")})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		sel, err := set.Select([]string{s}, nil, catalogue.Quick)
		if err == nil && len(sel.Instances)+len(sel.Excluded) == 0 && !strings.Contains(s, "[") {
			t.Errorf("%q selects nothing and is no error", s)
		}
	})
}
