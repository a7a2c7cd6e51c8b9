// Package runs runs a selection of the catalogue: it starts one sandbox, whose
// inside boots the labs and appends to results.jsonl, and makes the report
// outside, so that it is made whatever happened inside.
//
// A run's folder holds run.json (what is the same for all), results.jsonl,
// junit.xml, cases/ (evidence of each instance) and labs/ (of each boot).
package runs

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/catalogue/vhostnet"
	"picolab/hostctl/catalogue/vnic"
	"picolab/hostctl/internal/place"
	"picolab/hostctl/internal/sandbox"
	"picolab/hostctl/report"
)

// Catalogue returns all cases.
func Catalogue() (*catalogue.Set, error) {
	return catalogue.NewSet(vhostnet.Cases(), vnic.Cases())
}

// Options are a run as the user asked for it.
type Options struct {
	Selectors []string
	Axes      map[string][]string // axis values; see catalogue.ParseAxes
	Profile   catalogue.Profile
	Accel     string // auto, kvm or tcg
	FailFast  bool
	Place     place.Place
	Dir       string   // the run's folder; see Prepare
	Command   []string // for the record
	Stdout    io.Writer
	Stderr    io.Writer
	Terminal  bool // Stdout is one
	Color     bool

	cases func() (*catalogue.Set, error) // tests have others than Catalogue
	entry string                         // and an entry that knows them
}

// Plan returns what a run of these options would run.
func (o Options) Plan() (catalogue.Plan, error) {
	set, err := o.set()
	if err != nil {
		return catalogue.Plan{}, err
	}
	sel, err := set.Select(o.Selectors, o.Axes, o.Profile)
	if err != nil {
		return catalogue.Plan{}, err
	}
	return catalogue.NewPlan(sel, o.Profile)
}

func (o Options) set() (*catalogue.Set, error) {
	if o.cases != nil {
		return o.cases()
	}
	return Catalogue()
}

// Run runs a selection and returns what came of it.  The error is ours, and the
// outcome has what was done until then; an interrupted run is no error.
func Run(ctx context.Context, o Options) (*report.Outcome, error) {
	start := time.Now()
	plan, err := o.Plan()
	if err != nil {
		return nil, err
	}
	folder, err := Prepare(o.Dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	out := &report.Outcome{}
	out.Run.Planned, out.Run.Excluded = plan.IDs(), plan.Excluded
	if len(out.Run.Planned) > 0 {
		err = o.enter(ctx, folder.dir)
	}
	out.Interrupted = ctx.Err() != nil
	if lerr := folder.load(out); err == nil {
		err = lerr
	}
	out.Seconds = time.Since(start).Seconds()
	if jerr := folder.writeJUnit(out); err == nil {
		err = jerr
	}
	return out, err
}

// enter runs the inside and waits for its end.
func (o Options) enter(ctx context.Context, dir string) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("ask for the host's name: %w", err)
	}
	j := job{Selectors: o.Selectors, Axes: o.Axes, Profile: o.Profile, Accel: o.Accel, FailFast: o.FailFast,
		Command: o.Command, HostName: host, Terminal: o.Terminal, Color: o.Color}
	name := entry
	if o.entry != "" {
		name = o.entry
	}
	spec, err := o.Place.Sandbox(name, j, sandbox.Bind{Source: dir, Target: place.InsideOut})
	if err != nil {
		return err
	}
	spec.Stdout, spec.Stderr = o.Stdout, o.Stderr
	box, err := sandbox.Start(ctx, spec)
	if err != nil {
		return fmt.Errorf("start sandbox: %w", err)
	}
	code, err := box.Wait()
	switch {
	case ctx.Err() != nil: // what stopped it is what was asked for
		return nil
	case err != nil:
		return fmt.Errorf("run in sandbox: %w", err)
	case code != 0:
		return fmt.Errorf("run in sandbox: ended with code %d", code)
	}
	return nil
}
