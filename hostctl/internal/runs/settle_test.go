package runs

import (
	"path/filepath"
	"slices"
	"testing"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/internal/probe"
	"picolab/hostctl/report"
)

// transfers is a job of the case that the quick profile has on taps and for some models on our switch.
func transfers(t *testing.T) (job, catalogue.Plan) {
	t.Helper()
	j := job{Selectors: []string{"vhostnet.data-transfer"}, Profile: catalogue.Quick}
	plan, err := j.plan()
	if err != nil {
		t.Fatal(err)
	}
	j.Planned, j.Excluded = append(plan.IDs(), "another.host"), plan.Excluded
	return j, plan
}

// TestSettle: what stands in for a tap that can be made is neither run nor missed, and the report says why.
func TestSettle(t *testing.T) {
	const standin = "vhostnet.data-transfer[backend=vale,nic=rtl8139,vhost=off]"
	for _, tap := range []bool{true, false} {
		j, plan := transfers(t)
		before := len(j.Planned)
		settled := j.settle(plan, map[string]report.Fact{probe.Tap: {OK: tap}})
		gone := before - len(j.Planned)
		if tap != (gone == 1) || tap == slices.Contains(j.Planned, standin) || !slices.Contains(j.Planned, "another.host") {
			t.Errorf("taps %v: planned are %q", tap, j.Planned)
		}
		if len(plan.IDs())-len(settled.IDs()) != gone || len(j.Excluded)-len(plan.Excluded) != gone {
			t.Errorf("taps %v: %d are run, excluded are %+v", tap, len(settled.IDs()), j.Excluded)
		}
	}
}

// TestAddPart: what the second host takes out is out of the run, and what the first took out stays out.
func TestAddPart(t *testing.T) {
	dir := t.TempDir()
	first := report.Run{Format: 1, Planned: []string{"b", "c"}, Excluded: []report.Excluded{{Instance: "a"}}, Parts: make([]report.Part, 1)}
	second := report.Run{Format: 1, Planned: []string{"a", "c"}, Excluded: []report.Excluded{{Instance: "b"}}, Parts: make([]report.Part, 1)}
	for _, run := range []report.Run{first, second} {
		if err := addPart(dir, run); err != nil {
			t.Fatal(err)
		}
	}
	run, err := report.ReadRun(filepath.Join(dir, report.RunFile))
	if err != nil || len(run.Parts) != 2 || !slices.Equal(run.Planned, []string{"c"}) || len(run.Excluded) != 2 {
		t.Errorf("%+v, %v", run, err)
	}
}
