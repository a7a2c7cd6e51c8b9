package page

import (
	"fmt"
	"html/template"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"picolab/hostctl/report"
)

// view is what the template shows.
type view struct {
	Title    string
	Run      report.Run
	Outcome  *report.Outcome
	Counts   []count
	Verdict  string // worst, in words
	Took     string
	Map      heatMap
	Bad      []instance // neither PASS nor SKIP, the worst first
	Skips    []skip
	Excluded []skip
	Cases    []caseView
	Facts    []report.Fact
}

type count struct {
	Verdict report.Verdict
	N       int
}

// skip is a reason and the instances it holds for.
type skip struct {
	Reason    string
	Instances []string
}

// caseView is a section of the page.
type caseView struct {
	Name      string
	Anchor    string
	Instances []instance
	Plots     []figurePlot
}

// instance is one result.
type instance struct {
	report.Result
	Anchor string
	Axes   string // "nic=e1000, vhost=off"
	Took   string
	Open   bool // shown unfolded
	Files  []file
	Values []figureRow
}

type file struct {
	Name string
	Href template.URL
}

type figureRow struct {
	Name, Where, Value, Unit string
	N                        int
}

// figurePlot is a plot with its legend.
type figurePlot struct {
	Name   string
	SVG    template.HTML
	Labels []string
}

// Colour is the class of the i-th label.
func (figurePlot) Colour(i int) string { return fmt.Sprintf("c%d", i%colours) }

func newView(o *report.Outcome) *view {
	v := &view{Title: "picolab run", Run: o.Run, Outcome: o, Facts: facts(o.Run), Took: span(o.Seconds)}
	if !o.Run.Started.IsZero() {
		v.Title += " of " + o.Run.Started.UTC().Format("2006-01-02 15:04 UTC")
	}
	all := report.WithMissing(o)
	for _, verdict := range slices.Backward(report.Verdicts()) {
		n := 0
		for i := range all {
			if all[i].Result == verdict {
				n++
			}
		}
		if n > 0 {
			v.Counts = append(v.Counts, count{verdict, n})
		}
	}
	v.Map = newHeatMap(all)
	for _, g := range report.ByCase(all) {
		v.Cases = append(v.Cases, newCase(g))
	}
	v.attention()
	v.Excluded = excluded(o.Run.Excluded)
	return v
}

// attention sorts out what a reader must look at.
func (v *view) attention() {
	for _, c := range v.Cases {
		for _, in := range c.Instances {
			switch in.Result.Result {
			case report.Pass:
			case report.Skip:
				v.Skips = addSkip(v.Skips, in.Reason, in.Instance)
			default:
				v.Bad = append(v.Bad, in)
			}
		}
	}
	slices.SortStableFunc(v.Bad, func(a, b instance) int {
		switch {
		case a.Result.Result.Worse(b.Result.Result):
			return -1
		case b.Result.Result.Worse(a.Result.Result):
			return 1
		}
		return 0
	})
}

func addSkip(all []skip, reason, instance string) []skip {
	for i := range all {
		if all[i].Reason == reason {
			all[i].Instances = append(all[i].Instances, instance)
			return all
		}
	}
	return append(all, skip{reason, []string{instance}})
}

func excluded(all []report.Excluded) []skip {
	var out []skip
	for _, ex := range all {
		out = addSkip(out, ex.Reason, ex.Instance)
	}
	return out
}

// facts are those of the run, or of all its parts when several hosts ran it.
func facts(run report.Run) []report.Fact {
	if len(run.Parts) < 2 {
		return run.Facts
	}
	var all []report.Fact
	for _, p := range run.Parts {
		for _, f := range p.Facts {
			f.Name = p.Host.Kind + ": " + f.Name
			all = append(all, f)
		}
	}
	return all
}

func newCase(g report.CaseGroup) caseView {
	c := caseView{Name: g.Name, Anchor: "case-" + anchor(g.Name)}
	for _, r := range g.Results {
		c.Instances = append(c.Instances, newInstance(r))
	}
	c.Plots = plots(g.Results)
	return c
}

func newInstance(r report.Result) instance {
	in := instance{Result: r, Anchor: anchor(r.Instance), Took: span(r.Seconds), Open: !r.Result.Good(),
		Axes: strings.Join(report.Axes(r.Instance), ", ")}
	for _, f := range r.Evidence {
		in.Files = append(in.Files, file{path.Base(f), href(f)})
	}
	for _, f := range r.Figures {
		in.Values = append(in.Values, figureRow{f.Name, f.Where(), short(f.Median()), f.Unit, len(f.Values)})
	}
	return in
}

// href makes a relative link of a file's name: results come from elsewhere too, so "javascript:" and the like must become
// part of a path.
func href(name string) template.URL {
	u := url.URL{Path: "./" + strings.TrimLeft(path.Clean("/"+name), "/")}
	return template.URL(u.EscapedPath())
}

// anchor is an id that needs no quoting anywhere.
func anchor(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, name)
}

func span(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < time.Minute {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// plots makes a plot of each figure of a case that was measured at several places.
func plots(results []report.Result) []figurePlot {
	var out []figurePlot
	for _, k := range figureKinds(results) {
		x := report.Abscissa(results, k.name)
		if x == "" {
			continue
		}
		xs, series := report.Collect(results, k.name, x)
		p := figurePlot{Name: k.name, SVG: plot(k.unit, x, xs, series)}
		for _, s := range series {
			p.Labels = append(p.Labels, s.Label)
		}
		out = append(out, p)
	}
	return out
}

type kind struct{ name, unit string }

func figureKinds(results []report.Result) []kind {
	seen := map[kind]bool{}
	for _, r := range results {
		for _, f := range r.Figures {
			seen[kind{f.Name, f.Unit}] = true
		}
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b kind) int { return strings.Compare(a.name, b.name) })
}
