package catalogue

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"picolab/hostctl/report"
)

// T is what a case runs against: its endpoints, its parameters, and the record
// of what it saw.  Its methods that can go wrong do not return errors: they end
// the instance, with a verdict that says whose fault it was.  They must be
// called from the goroutine of Run or from functions given to [T.Together].
type T struct {
	in      Instance
	profile Profile
	lab     Booted
	slow    bool   // see Emulated
	dir     string // the instance's evidence folder

	mu       sync.Mutex
	ctx      context.Context
	checks   []report.Check
	notes    []string
	began    time.Time
	steps    []report.Step
	figures  []report.Figure
	files    []string // evidence, relative to dir
	end      *ending  // the first thing that ended the instance
	xfail    string
	crashes  []knownCrash
	degraded string
	cleanups []func()
	silent   []string // guests that answer nothing any more
}

// ending is why an instance ended before its last line.
type ending struct {
	verdict report.Verdict
	reason  string
}

// stopped is what a T panics with to leave Run; only the runner recovers it.
type stopped struct{}

// Context is cancelled when the instance's time is up, when the run is
// interrupted, and when a guest's kernel dies.
func (t *T) Context() context.Context {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ctx
}

// Axis returns the instance's value of an axis of its case.
func (t *T) Axis(name string) string {
	v, ok := t.in.Value(name)
	if !ok {
		t.specf("case has no axis %q", name)
	}
	return v
}

// Emulated says that guests run in software, in this machine or in one around
// it: at least ten times slower than the documents' own.
func (t *T) Emulated() bool { return t.slow }

// Check records a comparison and returns ok.  A check that does not hold makes
// the instance FAIL but does not end it.  Evidence is a file of the instance's
// folder or a line of text; it may be empty.
func (t *T) Check(name string, expected, got any, ok bool, evidence string) bool {
	t.record(report.Check{Name: name, Expected: fmt.Sprint(expected), Got: fmt.Sprint(got), OK: ok, Evidence: evidence})
	return ok
}

// Equal is [T.Check] for values that must be the same.
func Equal[V comparable](t *T, name string, expected, got V, evidence string) bool {
	return t.Check(name, expected, got, expected == got, evidence)
}

// Deviate is [T.Check] of a criterion that the case's data lists under
// Deviations: the record carries the seed's value and the reason beside the
// modern one.
func (t *T) Deviate(check, got string, ok bool, evidence string) bool {
	for _, d := range t.in.Case.Deviations {
		if d.Check == check {
			t.record(report.Check{Name: check, Expected: d.Modern, Got: got, OK: ok, Evidence: evidence,
				Seed: d.Seed + " (deviation: " + d.Reason + ")"})
			return ok
		}
	}
	t.specf("case lists no deviation for check %q", check)
	return false
}

func (t *T) record(c report.Check) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.checks = append(t.checks, c)
}

// Fatalf ends the instance as FAIL: going on would tell nothing.
func (t *T) Fatalf(format string, args ...any) { t.stop(report.Fail, fmt.Sprintf(format, args...)) }

// Skipf ends the instance as SKIP; the text names what is missing and how that
// was found out.
func (t *T) Skipf(format string, args ...any) { t.stop(report.Skip, fmt.Sprintf(format, args...)) }

// Errorf ends the instance as ERROR: something of ours broke.
func (t *T) Errorf(format string, args ...any) { t.stop(report.Error, fmt.Sprintf(format, args...)) }

// specf ends the instance as ERROR because the case's code and data disagree.
func (t *T) specf(format string, args ...any) {
	t.Errorf("case %s: "+format, append([]any{t.in.Case.ID}, args...)...)
}

// XFail says that the instance must fail because of a named defect of others:
// a FAIL becomes XFAIL and a PASS becomes XPASS.
func (t *T) XFail(defect string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.xfail = defect
}

// knownCrash is a crash of a guest's kernel for which a named defect of others is the reason.
type knownCrash struct{ title, module, defect string }

// XFailCrash says that a guest's kernel dies now and then of a named defect of
// others: with a crash report that has this title and a function of the module in
// its trace, a FAIL becomes XFAIL.  Other crashes are what they were, and a PASS
// stays one.
func (t *T) XFailCrash(title, module, defect string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.crashes = append(t.crashes, knownCrash{title, module, defect})
}

// Degraded says that the strict criterion was missed and the stated tolerance
// met: a PASS becomes DEGRADED.
func (t *T) Degraded(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.degraded = fmt.Sprintf(format, args...)
}

// Logf keeps a note with the result.
func (t *T) Logf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// Cleanup has fn run when the instance ends, however it ends, the last given
// first.  A fault in one keeps the others from nothing.
func (t *T) Cleanup(fn func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, fn)
}

// Path returns where an evidence file of the instance lies.
func (t *T) Path(name string) string { return filepath.Join(t.dir, name) }

func (t *T) popCleanup() func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.cleanups)
	if n == 0 {
		return nil
	}
	fn := t.cleanups[n-1]
	t.cleanups = t.cleanups[:n-1]
	return fn
}

// swapEnd sets how the instance ended and returns how it had.
func (t *T) swapEnd(e *ending) *ending {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.end
	t.end = e
	return old
}

func (t *T) setContext(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ctx = ctx
}

// File returns the path of a new evidence file of the instance.
func (t *T) File(name string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.files = append(t.files, name)
	return filepath.Join(t.dir, name)
}

// unanswering remembers a guest that need not be asked again.
func (t *T) unanswering(guest string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.silent = append(t.silent, guest)
}

func (t *T) answering(guest string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !slices.Contains(t.silent, guest)
}

// keep copies the record into a result; a case that did not stop may still add
// to it.
func (t *T) keep(res *report.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	res.Checks, res.Notes = slices.Clone(t.checks), append(res.Notes, t.notes...)
	res.Steps, res.Figures = slices.Clone(t.steps), slices.Clone(t.figures)
	for _, f := range t.files {
		res.Evidence = append(res.Evidence, filepath.Join("cases", t.in.Dir(), f))
	}
}

func (t *T) stop(v report.Verdict, reason string) {
	t.note(v, reason)
	panic(stopped{})
}

// note keeps the first reason to end, unless a worse one follows.
func (t *T) note(v report.Verdict, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.end == nil || v.Worse(t.end.verdict) {
		t.end = &ending{verdict: v, reason: reason}
	}
}
