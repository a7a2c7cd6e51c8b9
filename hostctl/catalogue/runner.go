package catalogue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"picolab/hostctl/report"
)

// Runner runs plans.
type Runner struct {
	Boot     Boot
	Probes   map[string]report.Fact // what the host has; a need without a probe is an ERROR
	Dir      string                 // the run's folder; evidence goes below it
	Host     report.Host
	Image    string
	FailFast bool
	Watch    Observer
	Result   func(report.Result) error // keeps a result; an error ends the run

	boots int
}

// Observer hears of a run's progress.  Its methods are called one at a time.
type Observer interface {
	Booting(top Topology)
	BootDone(top Topology, took time.Duration, err error)
	Start(in Instance)
	Done(r report.Result)
}

// errFailFast ends a run that was told to stop at the first bad verdict.
var errFailFast = errors.New("stopped after the first bad result")

// Run runs a plan.  It returns nil when every instance has a result, or when
// --fail-fast ended it; the context's error when that ended first, with what was
// done kept.
func (r *Runner) Run(ctx context.Context, p Plan) error {
	for _, g := range p.Groups {
		err := r.group(ctx, g, p.Profile)
		if errors.Is(err, errFailFast) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// group runs the instances of one topology on as few boots as their verdicts
// allow.
func (r *Runner) group(ctx context.Context, g Group, p Profile) error {
	s := &session{r: r, top: g.Topology, profile: p}
	defer s.down()
	for _, in := range g.Instances {
		res, err := s.run(ctx, in)
		if err != nil {
			return err
		}
		if err := r.keep(res); err != nil {
			return err
		}
		if r.FailFast && !res.Result.Good() {
			return errFailFast
		}
	}
	return nil
}

func (r *Runner) keep(res report.Result) error {
	if err := r.Result(res); err != nil {
		return fmt.Errorf("keep result of %s: %w", res.Instance, err)
	}
	r.Watch.Done(res)
	return nil
}

// missing returns why the host cannot run an instance, or "".  The needs that
// begin with "mod." are the guest's and are looked at when it is up.
func (r *Runner) missing(in Instance) (verdict report.Verdict, reason string) {
	if why := in.Case.NotOn(r.Host.Kind); why != "" {
		return report.Skip, why
	}
	for _, need := range in.HostNeeds() {
		fact, ok := r.Probes[need]
		if !ok {
			return report.Error, fmt.Sprintf("needs %s, which nothing probes", need)
		}
		if !fact.OK {
			return report.Skip, unmet(need, fact)
		}
	}
	return "", ""
}

// unmet is a SKIP's reason: what is missing, how that was found out, and what
// would help.
func unmet(need string, fact report.Fact) string {
	text := fmt.Sprintf("needs %s: %s", need, fact.Evidence)
	if fact.Remedy != "" {
		text += " (" + fact.Remedy + ")"
	}
	return text
}
