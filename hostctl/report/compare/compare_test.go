package compare

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"picolab/hostctl/report"
)

// one is a run with an instance of each given verdict and, for each list of values, a figure.
func one(verdicts map[string]report.Verdict, better report.Direction, values ...float64) *report.Outcome {
	o := &report.Outcome{Run: report.Run{Profile: "quick", Catalogue: "c"}}
	for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
		if v, ok := verdicts[id]; ok {
			o.Results = append(o.Results, report.Result{Case: id, Instance: id, Result: v, Reason: "because " + id})
			o.Run.Planned = append(o.Run.Planned, id)
		}
	}
	r := report.Result{Case: "speed", Instance: "speed", Result: report.Pass}
	if len(values) > 0 {
		r.Figures = []report.Figure{{Name: "rate", Unit: "Mbit/s", Better: better, Values: values, At: map[string]string{"size": "64"}}}
	}
	o.Results = append(o.Results, r)
	return o
}

func side(name string, runs ...*report.Outcome) Side { return Side{Name: name, Runs: runs} }

func TestVerdicts(t *testing.T) {
	before := one(map[string]report.Verdict{"a": report.Pass, "b": report.Pass, "c": report.Fail, "d": report.Pass, "e": report.Skip}, "")
	after := one(map[string]report.Verdict{"a": report.Pass, "b": report.Fail, "c": report.Pass, "d": report.Skip, "f": report.Error}, "")
	c := Of(side("x", before), side("y", after))
	if c.Unchanged != 2 || len(c.Verdicts) != 5 {
		t.Fatalf("%d unchanged, changes %+v", c.Unchanged, c.Verdicts)
	}
	want := map[string]bool{"b": true, "c": false, "d": true, "e": true, "f": true}
	for i := range c.Verdicts {
		v := &c.Verdicts[i]
		if v.Worse() != want[v.Instance] {
			t.Errorf("%s: %s -> %s: worse is %v", v.Instance, v.Old, v.New, v.Worse())
		}
	}
	if !c.Verdicts[0].Worse() || c.Verdicts[4].Worse() {
		t.Errorf("regressions are not first: %+v", c.Verdicts)
	}
	if got := c.Regressions(5); len(got) != 4 {
		t.Errorf("regressions %q", got)
	}
}

// TestWorstOfSide: an instance that failed in one of three runs has not the verdict of the other two.
func TestWorstOfSide(t *testing.T) {
	pass, fail := one(map[string]report.Verdict{"a": report.Pass}, ""), one(map[string]report.Verdict{"a": report.Fail}, "")
	c := Of(side("x", pass, pass, pass), side("y", pass, fail, pass))
	if len(c.Verdicts) != 1 || c.Verdicts[0].New != report.Fail {
		t.Errorf("%+v", c.Verdicts)
	}
}

func TestFigures(t *testing.T) {
	noisy := []float64{100, 103, 98, 101, 99, 102}
	for _, tt := range []struct {
		name        string
		better      report.Direction
		old, new    []float64
		significant bool
		regressions int
	}{
		{"the same", report.HigherIsBetter, noisy, noisy, false, 0},
		{"noise", report.HigherIsBetter, noisy, []float64{97, 102, 100, 99, 103, 98}, false, 0},
		{"slower", report.HigherIsBetter, noisy, []float64{80, 83, 78, 81, 79, 82}, true, 1},
		{"faster", report.HigherIsBetter, []float64{80, 83, 78, 81, 79, 82}, noisy, true, 0},
		{"latency up", report.LowerIsBetter, noisy, []float64{180, 183, 178, 181, 179, 182}, true, 1},
		{"a little slower", report.HigherIsBetter, noisy, []float64{96, 96.5, 95, 97, 96.1, 95.5}, true, 0},
		{"no direction", report.Neither, noisy, []float64{1, 2, 3, 1, 2, 3}, true, 0},
		{"one value each, far apart", report.HigherIsBetter, []float64{100}, []float64{50}, false, 1},
		{"one value each, near", report.HigherIsBetter, []float64{100}, []float64{99}, false, 0},
		{"from nothing", report.LowerIsBetter, []float64{0}, []float64{3}, false, 1},
	} {
		c := Of(side("x", one(nil, tt.better, tt.old...)), side("y", one(nil, tt.better, tt.new...)))
		if len(c.Figures) != 1 {
			t.Fatalf("%s: %d figures", tt.name, len(c.Figures))
		}
		if f := c.Figures[0]; f.Significant != tt.significant {
			t.Errorf("%s: significant is %v, p %v", tt.name, f.Significant, f.P)
		}
		if got := c.Regressions(10); len(got) != tt.regressions {
			t.Errorf("%s: regressions %q", tt.name, got)
		}
	}
}

// TestRunsAddUp: six runs of one value each tell what one cannot.
func TestRunsAddUp(t *testing.T) {
	var before, after []*report.Outcome
	for i := range 6 {
		before = append(before, one(nil, report.HigherIsBetter, 100+float64(i)))
		after = append(after, one(nil, report.HigherIsBetter, 90+float64(i)/2))
	}
	c := Of(side("x", before...), side("y", after...))
	if f := c.Figures[0]; !f.Significant || f.OldN != 6 || math.Abs(f.Delta()+11) > 1 {
		t.Errorf("%+v, delta %v", f, f.Delta())
	}
}

func TestText(t *testing.T) {
	before := one(map[string]report.Verdict{"a": report.Pass}, report.HigherIsBetter, 100, 101, 102, 100, 101)
	after := one(map[string]report.Verdict{"a": report.Fail}, report.HigherIsBetter, 50, 51, 52, 50, 51)
	after.Run.Image = "other"
	var b bytes.Buffer
	if err := Of(side("x", before), side("y", after)).Text(&b, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"differs: guest image: unknown -> other", "PASS -> FAIL  a", "because a", "rate at size=64", "101 Mbit/s", "-49.5% worse", "5+5"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "\x1b") {
		t.Error("colours that nobody asked for")
	}
}
