package catalogue

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"picolab/hostctl/report"
)

// maxReasons is how many failed checks a reason names.
const maxReasons = 3

// conclude returns the verdict of an instance that has ended and its reason.
// What a kernel said comes first: an oops explains a lost connection, never the
// other way round.
func (t *T) conclude(findings []Finding) (report.Verdict, string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ours := func(f Finding) bool { return f.Ours }
	if said := slices.DeleteFunc(slices.Clone(findings), ours); len(said) > 0 {
		return t.crashed(said)
	}
	if len(findings) > 0 {
		return report.Error, fmt.Sprintf("guest %s: %s", findings[0].Guest, findings[0].Title)
	}
	failed := t.failed()
	switch {
	case t.end != nil && t.end.verdict == report.Error:
		return report.Error, t.end.reason
	case failed != "" || t.end != nil && t.end.verdict == report.Fail:
		return t.failure(failed)
	case t.end != nil:
		return t.end.verdict, t.end.reason
	case len(t.checks) == 0:
		return report.Error, "case " + t.in.Case.ID + " made no check"
	}
	return t.success()
}

// crashed is the verdict of what kernels said.
func (t *T) crashed(findings []Finding) (report.Verdict, string) {
	f := fullest(findings)
	reason := oopsReason(f, len(findings)-1)
	for _, known := range t.crashes {
		if f.Title == known.title && strings.Contains(f.Text, "["+known.module+"]") {
			return report.XFail, known.defect + ": " + reason
		}
	}
	return report.Fail, reason
}

func (t *T) failure(failed string) (report.Verdict, string) {
	reason := failed
	if t.end != nil {
		reason = strings.Trim(t.end.reason+"; "+failed, "; ")
	}
	if t.xfail != "" {
		return report.XFail, t.xfail + ": " + reason
	}
	return report.Fail, reason
}

func (t *T) success() (report.Verdict, string) {
	switch {
	case t.xfail != "":
		return report.XPass, "passed although it is known to fail: " + t.xfail
	case t.degraded != "":
		return report.Degraded, t.degraded
	}
	return report.Pass, ""
}

// failed names the checks that did not hold, or is empty.
func (t *T) failed() string {
	var words []string
	for _, c := range t.checks {
		if !c.OK {
			words = append(words, fmt.Sprintf("%s: expected %s, got %s", c.Name, c.Expected, c.Got))
		}
	}
	if n := len(words) - maxReasons; n > 0 {
		words = append(words[:maxReasons], fmt.Sprintf("and %d more checks", n))
	}
	return strings.Join(words, "; ")
}

// maxOops bounds the kernel text in a reason; the console has all of it.
const maxOops = 4 << 10

// fullest is the finding with the most text: QEMU's own "guest panicked" has none,
// and the console says why.
func fullest(findings []Finding) Finding {
	return slices.MaxFunc(findings, func(a, b Finding) int { return cmp.Compare(len(a.Text), len(b.Text)) })
}

// oopsReason tells of a finding, and how many there are besides.
func oopsReason(f Finding, more int) string {
	text := fmt.Sprintf("guest %s: kernel said %s: %s", f.Guest, f.Kind, f.Title)
	if more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	body := strings.TrimSpace(f.Text)
	if len(body) > maxOops {
		body = body[:maxOops] + "..."
	}
	if body == "" {
		return text
	}
	return text + "\n" + body
}
