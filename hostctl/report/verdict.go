package report

import (
	"fmt"
	"slices"
)

// Verdict is what an instance came to.
type Verdict string

// The verdicts.  FAIL is the thing under test's fault and ERROR is ours: a lab
// that did not boot, an agent that went silent, a case written wrongly.
const (
	Skip     Verdict = "SKIP"     // the host lacks something the case needs; the reason is the probe's evidence
	Pass     Verdict = "PASS"     // every check held
	XFail    Verdict = "XFAIL"    // failed as a named upstream defect says it must
	Degraded Verdict = "DEGRADED" // the strict criterion missed, a stated tolerance met
	XPass    Verdict = "XPASS"    // passed although a named defect says it cannot: the expectation is stale
	Fail     Verdict = "FAIL"     // a check did not hold, or the guest's kernel complained
	Error    Verdict = "ERROR"    // no verdict about the guest is possible
)

// severity lists the verdicts from the best to the worst.
var severity = []Verdict{Skip, Pass, XFail, Degraded, XPass, Fail, Error}

// Verdicts returns all verdicts, the best first.
func Verdicts() []Verdict { return slices.Clone(severity) }

// Valid reports whether v is one of the seven.
func (v Verdict) Valid() bool { return slices.Contains(severity, v) }

// Worse reports whether v is a worse verdict than w.  An unknown verdict is
// worse than every known one.
func (v Verdict) Worse(w Verdict) bool { return v.rank() > w.rank() }

func (v Verdict) rank() int {
	if i := slices.Index(severity, v); i >= 0 {
		return i
	}
	return len(severity)
}

// Good reports whether a run with this verdict as its worst is green.
func (v Verdict) Good() bool { return !v.Worse(Degraded) }

// Exit codes of a run.
const (
	ExitGreen       = 0   // the worst verdict is SKIP, PASS, XFAIL or DEGRADED
	ExitFail        = 1   // the worst is FAIL or XPASS
	ExitUsage       = 2   // the command line was wrong; nothing ran
	ExitError       = 3   // at least one ERROR, or planned instances have no result
	ExitNothing     = 4   // nothing was planned: an empty run is never green
	ExitInterrupted = 130 // stopped by a signal; the results are partial
)

// ExitCode is the exit code of the worst verdict.
func (v Verdict) ExitCode() int {
	switch {
	case v.Good():
		return ExitGreen
	case v == Fail || v == XPass:
		return ExitFail
	}
	return ExitError
}

// UnmarshalText refuses words that are no verdict, so that a file written by
// something else is not taken for a green run.
func (v *Verdict) UnmarshalText(text []byte) error {
	w := Verdict(text)
	if !w.Valid() {
		return fmt.Errorf("parse verdict: %q is none of %v", text, severity)
	}
	*v = w
	return nil
}
