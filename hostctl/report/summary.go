package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// slowest is how many instances the summary's list of slow ones has.
const slowest = 5

// Summary writes the end of a run for people: the verdicts' numbers, the
// slowest instances, and the reason of everything that is not a PASS.
func Summary(w io.Writer, o *Outcome, color bool) error {
	p := &printer{w: w, color: color}
	p.reasons(o)
	p.slowest(o)
	p.counts(o)
	p.conclusion(o)
	return p.err
}

// printer keeps the first write error.
type printer struct {
	w     io.Writer
	color bool
	err   error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// verdict returns v padded, coloured where colours are wanted.
func (p *printer) verdict(v Verdict) string { return Colored(v, fmt.Sprintf("%-8s", v), p.color) }

// Colored returns text in the colour of v, or as it is.
func Colored(v Verdict, text string, color bool) string {
	if !color {
		return text
	}
	code := "31" // red
	switch v {
	case Pass:
		code = "32" // green
	case Skip:
		code = "36" // cyan
	case XFail, Degraded:
		code = "33" // yellow
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// reasons lists what is not a PASS, the worst first.
func (p *printer) reasons(o *Outcome) {
	rest := slices.Clone(WithMissing(o))
	rest = slices.DeleteFunc(rest, func(r Result) bool { return r.Result == Pass })
	slices.SortStableFunc(rest, func(a, b Result) int { return cmp.Compare(b.Result.rank(), a.Result.rank()) })
	var skips []Result
	for i := range rest {
		if rest[i].Result == Skip {
			skips = append(skips, rest[i])
			continue
		}
		p.reason(&rest[i])
	}
	p.skips(skips)
	for _, line := range Exclusions(o.Run.Excluded) {
		p.printf("%s\n", line)
	}
	if len(rest) > 0 || len(o.Run.Excluded) > 0 {
		p.printf("\n")
	}
}

// skips says each reason once, with the instances it holds for: a machine that
// lacks one thing skips many.
func (p *printer) skips(all []Result) {
	var reasons []string
	for _, r := range all {
		if !slices.Contains(reasons, r.Reason) {
			reasons = append(reasons, r.Reason)
		}
	}
	for _, reason := range reasons {
		p.printf("%s %s\n", p.verdict(Skip), reason)
		for _, r := range all {
			if r.Reason == reason {
				p.printf("         %s\n", r.Instance)
			}
		}
	}
}

// Exclusions say why combinations are none, a line for each case and reason.
func Exclusions(all []Excluded) []string {
	type group struct{ name, reason string }
	var order []group
	count := map[group]int{}
	for _, ex := range all {
		name, _, _ := strings.Cut(ex.Instance, "[")
		g := group{name, ex.Reason}
		if count[g]++; count[g] == 1 {
			order = append(order, g)
		}
	}
	lines := make([]string, len(order))
	for i, g := range order {
		lines[i] = fmt.Sprintf("excluded %s, %d combinations: %s", g.name, count[g], g.reason)
	}
	return lines
}

func (p *printer) reason(r *Result) {
	p.printf("%s %s\n", p.verdict(r.Result), r.Instance)
	if f := r.Failed(); len(f) == 0 || !strings.HasPrefix(r.Reason, f[0].Name+": ") { // else the checks below say it
		for _, line := range strings.Split(strings.TrimRight(r.Reason, "\n"), "\n") {
			p.printf("         %s\n", line)
		}
	}
	for _, c := range r.Failed() {
		p.printf("         %s: expected %s, got %s\n", c.Name, c.Expected, c.Got)
		if c.Evidence != "" {
			p.printf("           evidence: %s\n", FirstLine(c.Evidence))
		}
	}
}

func (p *printer) slowest(o *Outcome) {
	slow := slices.Clone(o.Results)
	slow = slices.DeleteFunc(slow, func(r Result) bool { return r.Result == Skip })
	slices.SortStableFunc(slow, func(a, b Result) int { return cmp.Compare(b.Seconds, a.Seconds) })
	if len(slow) < 2 {
		return
	}
	p.printf("slowest:\n")
	for _, r := range slow[:min(slowest, len(slow))] {
		p.printf("  %7.1fs %s", r.Seconds, r.Instance)
		if r.Boot > 0 {
			p.printf(" (%.1fs of it booting)", r.Boot)
		}
		p.printf("\n")
	}
	p.printf("\n")
}

func (p *printer) counts(o *Outcome) {
	var words []string
	for _, v := range []Verdict{Pass, Fail, Error, Skip, XFail, XPass, Degraded} {
		if n := o.Count(v); n > 0 || v == Pass || v == Fail || v == Error {
			words = append(words, Colored(v, fmt.Sprintf("%d %s", n, v), p.color && n > 0))
		}
	}
	took := time.Duration(o.Seconds * float64(time.Second)).Round(100 * time.Millisecond)
	p.printf("%s: %d of %d instances in %v\n", strings.Join(words, ", "), len(o.Results), len(o.Run.Planned), took)
}

// conclusion says in words what the exit code says in a number, where the
// counts alone might mislead.
func (p *printer) conclusion(o *Outcome) {
	missing := len(o.Missing())
	switch {
	case o.Interrupted:
		p.printf("INTERRUPTED: %d instances were not run\n", missing)
	case len(o.Run.Planned) == 0:
		p.printf("NOTHING RAN: the selection has no instance\n")
	case missing > 0:
		p.printf("%d planned instances have no result\n", missing)
	case o.Executed() == 0:
		p.printf("NOTHING WAS EXECUTED: every instance was skipped, for the reasons above\n")
	}
}
