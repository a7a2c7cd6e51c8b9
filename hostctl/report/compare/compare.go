// Package compare tells how two sets of runs differ: verdicts that changed, and figures that moved, with a significance
// test. Each side is one run or several of the same kind; several make the figures' samples larger, and with them the
// differences that can be told from noise smaller.
package compare

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"golang.org/x/perf/benchmath"

	"picolab/hostctl/report"
)

// Side is the runs of one side.
type Side struct {
	Name string
	Runs []*report.Outcome
}

// Comparison is what changed from the old side to the new.
type Comparison struct {
	Old, New  string
	Warnings  []string // why the two may not be comparable
	Verdicts  []VerdictChange
	Figures   []FigureChange
	Unchanged int // instances with the same verdict on both sides
}

// VerdictChange is an instance whose verdict is another, or that one side does not have.
type VerdictChange struct {
	Instance string
	Old, New report.Verdict // empty when the side does not have it
	Reason   string         // the new one's, or the old one's
}

// Worse reports whether the change is a regression: what was good is not, or is no longer looked at.
func (c *VerdictChange) Worse() bool {
	if c.Old == "" {
		return c.New != "" && !c.New.Good()
	}
	return c.Old.Good() && (c.New == "" || !c.New.Good() || c.New == report.Skip && c.Old != report.Skip)
}

// FigureChange is a figure that both sides have.
type FigureChange struct {
	Instance, Name, Where, Unit string
	Better                      report.Direction
	Old, New                    float64 // medians
	OldN, NewN                  int
	P                           float64 // of the Mann-Whitney U test: how likely noise alone would tell them apart like this
	Significant                 bool
	Warning                     string // why there is no significance
}

// Delta is the relative change in percent; NaN from zero.
func (c *FigureChange) Delta() float64 {
	if c.Old == 0 {
		if c.New == 0 {
			return 0
		}
		return math.NaN()
	}
	return 100 * (c.New - c.Old) / math.Abs(c.Old)
}

// Loss is how many percent worse the new value is, negative when it is better, and 0 for a figure of neither direction.
func (c *FigureChange) Loss() float64 {
	d := c.Delta()
	switch {
	case c.Better == report.Neither:
		return 0
	case math.IsNaN(d): // from nothing to something
		d = math.Copysign(math.Inf(1), c.New)
	}
	if c.Better == report.HigherIsBetter {
		return -d
	}
	return d
}

// Of compares two sides.
func Of(before, after Side) *Comparison {
	c := &Comparison{Old: before.Name, New: after.Name, Warnings: differences(before, after)}
	c.verdicts(worstOf(before), worstOf(after))
	c.figures(samplesOf(before), samplesOf(after))
	return c
}

// differences lists what makes figures or verdicts of two sides another thing.
func differences(before, after Side) []string {
	var all []string
	for _, what := range []struct {
		name string
		of   func(report.Run) string
	}{
		{"catalogue", func(r report.Run) string { return r.Catalogue }},
		{"profile", func(r report.Run) string { return r.Profile }},
		{"accelerator", func(r report.Run) string { return r.Host.Accel }},
		{"host", func(r report.Run) string { return r.Host.Name }},
		{"host kernel", func(r report.Run) string { return r.Host.Kernel }},
		{"QEMU", func(r report.Run) string { return r.Host.QEMU }},
		{"guest image", func(r report.Run) string { return r.Image }},
	} {
		a, b := valuesOf(before, what.of), valuesOf(after, what.of)
		if a != b {
			all = append(all, what.name+": "+a+" -> "+b)
		}
	}
	return all
}

func valuesOf(s Side, of func(report.Run) string) string {
	seen := map[string]bool{}
	for _, o := range s.Runs {
		v := of(o.Run)
		if v == "" {
			v = "unknown"
		}
		seen[v] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(seen)), ", ")
}

// worstOf returns each instance's worst result of a side.
func worstOf(s Side) map[string]report.Result {
	worst := map[string]report.Result{}
	for _, o := range s.Runs {
		for _, r := range report.WithMissing(o) {
			if was, ok := worst[r.Instance]; !ok || r.Result.Worse(was.Result) {
				worst[r.Instance] = r
			}
		}
	}
	return worst
}

func (c *Comparison) verdicts(before, after map[string]report.Result) {
	ids := slices.Sorted(maps.Keys(before))
	for id := range after {
		if _, ok := before[id]; !ok {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		a, b := before[id], after[id]
		if a.Result == b.Result {
			c.Unchanged++
			continue
		}
		c.Verdicts = append(c.Verdicts, VerdictChange{id, a.Result, b.Result, report.FirstLine(cmp.Or(b.Reason, a.Reason))})
	}
	slices.SortStableFunc(c.Verdicts, func(a, b VerdictChange) int { return -compareBool(a.Worse(), b.Worse()) })
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// place is what makes two figures the same thing measured twice.
type place struct{ instance, name, where, unit string }

type sample struct {
	better report.Direction
	values []float64
}

func samplesOf(s Side) map[place]*sample {
	all := map[place]*sample{}
	for _, o := range s.Runs {
		for _, r := range o.Results {
			for _, f := range r.Figures {
				k := place{r.Instance, f.Name, f.Where(), f.Unit}
				if all[k] == nil {
					all[k] = &sample{better: f.Better}
				}
				all[k].values = append(all[k].values, f.Values...)
			}
		}
	}
	return all
}

func (c *Comparison) figures(before, after map[place]*sample) {
	for k, a := range before {
		if b, ok := after[k]; ok {
			c.Figures = append(c.Figures, change(k, a, b))
		}
	}
	slices.SortFunc(c.Figures, func(a, b FigureChange) int {
		return cmp.Or(cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Where, b.Where), cmp.Compare(a.Unit, b.Unit))
	})
}

// change tests without an assumption about the distribution: latencies are nothing like normal.
func change(k place, a, b *sample) FigureChange {
	t := benchmath.DefaultThresholds
	test := benchmath.AssumeNothing
	x, y := benchmath.NewSample(a.values, &t), benchmath.NewSample(b.values, &t)
	result := test.Compare(x, y)
	c := FigureChange{Instance: k.instance, Name: k.name, Where: k.where, Unit: k.unit, Better: b.better,
		Old: test.Summary(x, 0.95).Center, New: test.Summary(y, 0.95).Center, OldN: result.N1, NewN: result.N2, P: result.P}
	c.Significant = result.P < result.Alpha
	if len(result.Warnings) > 0 {
		c.Warning = result.Warnings[0].Error()
	}
	return c
}
