package catalogue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"picolab/hostctl/lab"
	"picolab/hostctl/report"
)

// guestModule begins the names of needs that are kernel modules of the guests.
const guestModule = "mod."

// errLimit is the cause of an instance's context that ran out of time.
var errLimit = errors.New("the instance's time is up")

// trial is one instance on a lab.
type trial struct {
	s     *session
	t     *T
	marks marks
	stops []func(context.Context) // of the captures
}

func newTrial(s *session, in Instance) *trial {
	dir := filepath.Join(s.r.Dir, "cases", in.Dir())
	t := &T{in: in, profile: s.profile, lab: s.lab, dir: dir, ctx: context.Background(), began: time.Now(),
		slow: s.r.Host.Accel == lab.AccelTCG || s.r.Host.Nesting > 0}
	return &trial{s: s, t: t}
}

// run fills in the result.
func (tr *trial) run(ctx context.Context, res *report.Result) {
	if err := os.MkdirAll(tr.t.dir, 0o755); err != nil {
		tr.t.note(report.Error, fmt.Sprintf("make evidence folder: %v", err))
	}
	tr.marks = mark(tr.s.lab)
	tr.record(ctx)
	tr.execute(ctx)
	tr.cleanup()
	tr.finish(res)
}

// limit is the most time an instance may take: twice what its parameters add up
// to, and slack from the table.  Every request has a limit of its own; this one
// is for cases that would go round for ever.
func (tr *trial) limit() time.Duration {
	d := 4 * tr.s.lab.Timeout(lab.WaitTransfer)
	if text, ok := tr.t.in.Case.Params.Get(tr.s.profile, "time"); ok {
		spend, err := time.ParseDuration(text)
		if err != nil {
			tr.t.note(report.Error, fmt.Sprintf("case %s: parameter time: %v", tr.t.in.Case.ID, err))
		}
		d += 2 * spend
	}
	return d
}

// execute runs the case's function until it returns, ends the instance, runs
// out of time, or a guest's kernel dies.
func (tr *trial) execute(ctx context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := time.AfterFunc(tr.limit(), func() { cancel(errLimit) })
	defer limit.Stop()
	tr.t.setContext(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tr.call()
	}()
	for {
		select {
		case f := <-tr.s.found:
			if f.Fatal {
				cancel(fmt.Errorf("guest %s: it died: %s", f.Guest, f.Title))
			}
		case <-ctx.Done():
			tr.abandon(done, context.Cause(ctx))
			return
		case <-done:
			return
		}
	}
}

// abandon waits for a case whose context has ended, but not for ever: every
// wait of package catalogue ends with the context, one of the case's own might
// not.
func (tr *trial) abandon(done <-chan struct{}, cause error) {
	tr.t.note(report.Error, cause.Error())
	grace := time.NewTimer(tr.s.lab.Timeout(lab.WaitAgent))
	defer grace.Stop()
	select {
	case <-done:
	case <-grace.C:
		tr.t.note(report.Error, "case "+tr.t.in.Case.ID+" did not stop when its context ended")
	}
}

// call is the case's function with its exits caught.
func (tr *trial) call() {
	defer func() {
		switch p := recover(); p.(type) {
		case nil, stopped:
		default:
			tr.t.note(report.Error, fmt.Sprintf("case %s panicked: %v\n%s", tr.t.in.Case.ID, p, debug.Stack()))
		}
	}()
	tr.devices()
	tr.loadModules()
	tr.t.in.Case.Run(tr.t)
}

// loadModules looks at the needs that only a booted guest can tell.
func (tr *trial) loadModules() {
	for _, need := range tr.t.in.Needs() {
		module, ok := cutModule(need)
		if !ok {
			continue
		}
		for _, m := range tr.s.lab.Machines() {
			tr.t.Guest(m.Name()).needModule(module)
		}
	}
}

// needModule loads a module, or skips the instance.
func (n *Node) needModule(name string) {
	ctx, cancel := context.WithTimeout(n.t.Context(), n.t.Timeout(lab.WaitDriver))
	defer cancel()
	n.did("modprobe %s", name)
	err := n.agent.Modprobe(ctx, name)
	if err != nil && guestsFault(err) {
		n.t.Skipf("needs %s%s: guest %s: %v", guestModule, name, n.name, err)
	}
	if err != nil {
		n.blame("load module "+name, err)
	}
}

// cleanup runs the instance's cleanups, the last first, each with a context of
// its own: the instance's may have ended.
func (tr *trial) cleanup() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*tr.s.lab.Timeout(lab.WaitTransfer))
	defer cancel()
	tr.t.setContext(ctx)
	end := tr.t.swapEnd(nil)
	for fn := tr.t.popCleanup(); fn != nil; fn = tr.t.popCleanup() {
		tr.guard(fn)
		if fault := tr.t.swapEnd(nil); fault != nil {
			tr.t.Logf("cleanup: %s", fault.reason)
		}
	}
	tr.t.swapEnd(end)
}

// guard runs a cleanup whose fault must not keep the others from running.
func (tr *trial) guard(fn func()) {
	defer func() {
		p := recover()
		if _, ours := p.(stopped); p != nil && !ours {
			tr.t.Logf("cleanup panicked: %v", p)
		}
	}()
	fn()
}

// finish collects the evidence, decides, and says whether the lab can be used
// again.
func (tr *trial) finish(res *report.Result) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*tr.s.lab.Timeout(lab.WaitAgent))
	defer cancel()
	tr.t.setContext(ctx)
	for _, stop := range tr.stops {
		stop(ctx)
	}
	changed := tr.check(ctx)
	findings := tr.collect(ctx)
	res.Result, res.Reason = tr.t.conclude(findings)
	if !reusable(res.Result) {
		changed = "the result is " + string(res.Result)
	}
	if changed != "" {
		tr.t.Logf("the next instance gets a fresh lab: %s", changed)
		tr.s.down()
	}
	tr.t.keep(res)
}

// reusable reports whether a lab can be used again after a result.
func reusable(v report.Verdict) bool {
	return v == report.Pass || v == report.Skip || v == report.Degraded
}

// check says how the lab differs from what the instance found, or "".  It comes
// before the verdict: a guest that dies with the case's last breath is no PASS.
func (tr *trial) check(ctx context.Context) string {
	if v, _ := tr.t.conclude(nil); !reusable(v) {
		return ""
	}
	why, err := tr.dirty(ctx)
	if err != nil {
		tr.t.note(report.Error, "after the case: "+err.Error())
	}
	return why
}

// dirty says how the lab differs.  Drivers that were set back start anew, so what
// the instance changed gets the table's time to be as it was.
func (tr *trial) dirty(ctx context.Context) (why string, err error) {
	tr.t.Poll(lab.WaitLink, func() bool {
		var now snapshot
		if now, err = look(ctx, tr.s.lab); err == nil {
			why = tr.s.clean.diff(now)
		}
		return err != nil || why == ""
	})
	return why, err
}
