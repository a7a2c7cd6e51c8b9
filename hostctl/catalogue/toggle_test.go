package catalogue_test

import (
	"strings"
	"testing"

	"picolab/guestagent/client"
	"picolab/hostctl/catalogue"
	"picolab/hostctl/catalogue/internal/fake"
	"picolab/hostctl/report"
)

// TestToggling shows that a link goes to and fro while something else is done, and is
// put back.
func TestToggling(t *testing.T) {
	low, high := 1400, 9000
	made, seen := 0, map[int32]bool{}
	c := aCase("t.toggle", func(t *catalogue.T) {
		a := t.Guest("a")
		made = a.Toggling("eth0", 0, []client.LinkChange{{MTU: &low}, {MTU: &high}}, func() {
			t.Poll("agent", func() bool { seen[a.LinkNamed("eth0").Mtu] = true; return seen[1400] && seen[9000] })
		})
		ok(t)
	})
	r := runAll(t, fake.Faults{}, c)[0]
	if r.Result != report.Pass || made < 2 || made%2 != 0 || !seen[1400] || !seen[9000] {
		t.Errorf("%s: %s; %d changes, seen %v", r.Result, r.Reason, made, seen)
	}
	if notes := strings.Join(r.Notes, "\n"); strings.Contains(notes, "fresh lab") {
		t.Error(notes)
	}
	if want := "while true; do ip link set eth0 mtu 1400; ip link set eth0 mtu 9000; done"; r.Steps[0].Command != want {
		t.Errorf("%+v, want %s", r.Steps[0], want)
	}
}

// TestTogglingRefused shows that a change that the guest refuses is its fault, and
// that what goes on meanwhile is waited for.
func TestTogglingRefused(t *testing.T) {
	tooHigh, ended := 1<<20, false
	c := aCase("t.toggle", func(t *catalogue.T) {
		t.Guest("a").Toggling("eth0", 0, []client.LinkChange{{MTU: &tooHigh}}, func() {
			t.Poll("agent", func() bool { return false })
			ended = true
		})
	})
	if r := runAll(t, fake.Faults{}, c)[0]; r.Result != report.Fail || !strings.Contains(r.Reason, "invalid argument") || !ended {
		t.Errorf("%s: %s; ended %t", r.Result, r.Reason, ended)
	}
}

// TestOffloads shows what a flag's state is called, and that features are put back.
func TestOffloads(t *testing.T) {
	var at, switched, after string
	tell := func(o catalogue.Offloads) string {
		return o.Of("tso").String() + ", " + o.Of("lro").String() + ", " + o.Of("ufo").String()
	}
	change := aCase("t.offload", func(t *catalogue.T) {
		at = tell(t.Guest("a").Offloads("eth0"))
		switched = tell(t.Guest("a").SetOffload("eth0", "tso", false))
		ok(t)
	})
	look := aCase("t.offload-after", func(t *catalogue.T) {
		after = tell(t.Guest("a").Offloads("eth0"))
		ok(t)
	})
	runAll(t, fake.Faults{}, change, look)
	if at != "on, off [fixed], absent" || switched != "off, off [fixed], absent" || after != at {
		t.Errorf("%s; then %s; then %s", at, switched, after)
	}
	fixed := aCase("t.fixed", func(t *catalogue.T) { t.Guest("a").SetOffload("eth0", "lro", true) })
	if r := runAll(t, fake.Faults{}, fixed)[0]; r.Result != report.Fail || !strings.Contains(r.Reason, "not changeable") {
		t.Errorf("%s: %s", r.Result, r.Reason)
	}
}
