package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// TAPFile is the name of the run's results in TAP.
const TAPFile = "results.tap"

// TAP writes the results in the kernel's dialect of the Test Anything Protocol, version 1 (Documentation/dev-tools/ktap.rst):
// one subtest a case, one line an instance. SKIP and XFAIL are its directives; XPASS is "not ok", DEGRADED is "ok" with its
// reason as a diagnostic line, ERROR is "not ok" with the directive ERROR.
func TAP(w io.Writer, o *Outcome) error {
	b := bufio.NewWriter(w)
	groups := ByCase(WithMissing(o))
	fmt.Fprintf(b, "KTAP version 1\n1..%d\n", len(groups))
	for i, g := range groups {
		fmt.Fprintf(b, "  KTAP version 1\n  # Subtest: %s\n  1..%d\n", g.Name, len(g.Results))
		good := true
		for n, r := range g.Results {
			tapLine(b, n+1, &r)
			good = good && r.Result.Good()
		}
		fmt.Fprintf(b, "%s %d %s\n", okWord(good), i+1, g.Name)
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write tap: %w", err)
	}
	return nil
}

func tapLine(w io.Writer, n int, r *Result) {
	if r.Result == Degraded {
		diagnostics(w, r.Reason)
	}
	for _, c := range r.Failed() {
		diagnostics(w, fmt.Sprintf("%s: expected %s, got %s", c.Name, c.Expected, c.Got))
	}
	line := fmt.Sprintf("  %s %d %s", okWord(r.Result.Good()), n, tapText(r.Instance))
	if r.Result == Skip || r.Result == XFail || r.Result == Error {
		line += fmt.Sprintf(" # %s %s", r.Result, tapText(FirstLine(r.Reason)))
	}
	fmt.Fprintln(w, line)
}

func diagnostics(w io.Writer, text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(w, "  # %s\n", tapText(strings.TrimRight(line, "\n")))
	}
}

// tapText has no '#', which begins a directive, and nothing that a terminal would act on.
func tapText(s string) string { return strings.ReplaceAll(clean(s), "#", "_") }

func okWord(ok bool) string {
	if ok {
		return "ok"
	}
	return "not ok"
}

// CaseGroup is the results of one case.
type CaseGroup struct {
	Name    string
	Results []Result
}

// ByCase groups results by case, in the order in which cases first appear.
func ByCase(all []Result) []CaseGroup {
	var groups []CaseGroup
	at := map[string]int{}
	for _, r := range all {
		i, ok := at[r.Case]
		if !ok {
			i = len(groups)
			at[r.Case] = i
			groups = append(groups, CaseGroup{Name: r.Case})
		}
		groups[i].Results = append(groups[i].Results, r)
	}
	return groups
}
