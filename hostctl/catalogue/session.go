package catalogue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"picolab/hostctl/lab"
	"picolab/hostctl/report"
)

// session is a group's labs, one after the other.
type session struct {
	r       *Runner
	top     Topology
	profile Profile
	lab     Booted // nil when the next instance needs a boot
	clean   snapshot
	found   chan Finding
	broken  string // why the topology does not boot; after two tries it is not tried again
	tries   int
}

// maxTries is how many boots of one topology may fail.  The second try tells a
// slow machine from a broken image.
const maxTries = 2

// run runs one instance, with a boot where there is no clean lab.  The error is
// the context's.
func (s *session) run(ctx context.Context, in Instance) (report.Result, error) {
	res := report.Result{Case: in.Case.ID, Instance: in.ID(), Host: s.r.Host, Image: s.r.Image,
		Profile: string(s.profile), Started: time.Now().UTC()}
	s.r.Watch.Start(in)
	if v, why := s.r.missing(in); v != "" {
		res.Result, res.Reason = v, why
		return res, ctx.Err()
	}
	err := s.ready(ctx, &res)
	if ctx.Err() != nil {
		return res, ctx.Err()
	}
	if err != nil {
		res.Result, res.Reason = bootVerdict(err), err.Error()
	} else {
		newTrial(s, in).run(ctx, &res)
	}
	res.Seconds = time.Since(res.Started).Seconds()
	return res, ctx.Err()
}

// ready makes sure that a clean lab is up.  When it was the laboratory that
// failed, a QEMU that aborts for one thing, it tries once more and says so.
func (s *session) ready(ctx context.Context, res *report.Result) error {
	for s.lab == nil {
		if s.tries >= maxTries {
			return fmt.Errorf("boot %v: not tried again after %d failures: %s", s.top, s.tries, s.broken)
		}
		err := s.try(ctx, res)
		if err != nil && (s.tries >= maxTries || !infrastructure(err) || ctx.Err() != nil) {
			return err
		}
		if err != nil {
			res.Notes = append(res.Notes, "booted a second time: "+s.broken)
		}
	}
	return nil
}

// try boots the lab.
func (s *session) try(ctx context.Context, res *report.Result) error {
	start := time.Now()
	s.r.Watch.Booting(s.top)
	err := s.boot(ctx)
	took := time.Since(start)
	res.Boot += took.Seconds()
	s.r.Watch.BootDone(s.top, took, err)
	if err != nil {
		s.tries++
		s.broken, _, _ = strings.Cut(err.Error(), "\n")
		s.down()
	}
	return err
}

func (s *session) boot(ctx context.Context) error {
	s.r.boots++
	s.found = make(chan Finding, 64)
	booted, err := s.r.Boot(ctx, s.top, s.bootDir(), s.tell)
	if err != nil {
		return fmt.Errorf("boot %v: %w", s.top, err)
	}
	s.lab = booted
	if err := prepare(ctx, booted); err != nil {
		return fmt.Errorf("prepare %v: %w", s.top, err)
	}
	s.clean, err = look(ctx, booted)
	if err != nil {
		return fmt.Errorf("look at %v: %w", s.top, err)
	}
	return nil
}

// tell passes a finding on to whoever runs; one too many is still in the
// machine's own list.
func (s *session) tell(f Finding) {
	select {
	case s.found <- f:
	default:
	}
}

// bootDir is the folder of this boot: labs/03-a(virtio) would need quoting.
func (s *session) bootDir() string { return fmt.Sprintf("%s/labs/%03d", s.r.Dir, s.r.boots) }

// down ends the lab; the next instance gets a fresh one.
func (s *session) down() {
	if s.lab == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.lab.Timeout(lab.WaitStop)+s.lab.Timeout(lab.WaitHost))
	defer cancel()
	if err := s.lab.Down(ctx); err != nil {
		s.broken = "take lab down: " + err.Error()
	}
	s.lab = nil
}

// infrastructure says whether it was the laboratory that failed.
func infrastructure(err error) bool {
	i := (*lab.InfraError)(nil)
	return errors.As(err, &i)
}

// bootVerdict says whose fault a failed boot is.
func bootVerdict(err error) report.Verdict {
	if g := (*lab.GuestError)(nil); errors.As(err, &g) {
		return report.Fail
	}
	return report.Error
}
