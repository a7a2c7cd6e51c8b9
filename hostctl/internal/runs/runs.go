// Package runs runs a selection of the catalogue: it starts one sandbox, whose
// inside boots the labs and appends to results.jsonl, and makes the report
// outside, so that it is made whatever happened inside.
//
// A run's folder holds run.json (what is the same for all), results.jsonl,
// junit.xml, cases/ (evidence of each instance), labs/ (of each boot) and hosts/
// (of each host VM).
//
// The very same cases run in the container, in a host VM and on a PC: there a
// copy of this program, the relay, runs them in a container of that host and
// sends back what comes of it; see package remote.
package runs

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/catalogue/vhostnet"
	"picolab/hostctl/catalogue/vnic"
	"picolab/hostctl/internal/place"
	"picolab/hostctl/internal/remote"
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
	Host      Host // zero is the container
	Place     place.Place
	Dir       string          // the run's folder; see Prepare
	Resume    bool            // go on with the run in Dir: selectors, axes and profile are its own
	Shard     catalogue.Shard // a part of the plan; the zero value is all of it
	Command   []string        // for the record
	Stdout    io.Writer
	Stderr    io.Writer
	Terminal  bool // Stdout is one
	Color     bool

	cases func() (*catalogue.Set, error) // tests have others than Catalogue
	entry string                         // and an entry that knows them
	ssh   *remote.SSH                    // and a client with options

	planned []string // of the run that is resumed
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
	plan, err := catalogue.NewPlan(sel, o.Profile)
	if err != nil || o.Shard.Count < 2 {
		return plan, err
	}
	return plan.Shard(o.Shard, o.Pace()), nil
}

// Pace is what things take with the accelerator that was asked for; without KVM for sure, emulation is planned for.
func (o Options) Pace() catalogue.Pace { return catalogue.PaceOf(o.Accel) }

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
	folder, plan, out, err := o.open()
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	before := out.Seconds
	if len(plan.Groups) > 0 {
		err = o.run(ctx, plan, folder)
	}
	out.Interrupted = ctx.Err() != nil
	if lerr := folder.load(out); err == nil {
		err = lerr
	}
	out.Seconds = before + time.Since(start).Seconds()
	if derr := Derive(folder.dir, out); err == nil {
		err = derr
	}
	return out, err
}

// open makes the run's folder, or takes up the one that is to be resumed, and says what is left to run.
func (o *Options) open() (*Folder, catalogue.Plan, *report.Outcome, error) {
	if o.Resume {
		return o.takeUp()
	}
	plan, err := o.Plan()
	if err != nil {
		return nil, catalogue.Plan{}, nil, err
	}
	folder, err := Prepare(o.Dir)
	if err != nil {
		return nil, catalogue.Plan{}, nil, err
	}
	out := &report.Outcome{}
	out.Run.Planned, out.Run.Excluded = plan.IDs(), plan.Excluded
	return folder, plan, out, nil
}

func (o *Options) takeUp() (*Folder, catalogue.Plan, *report.Outcome, error) {
	folder, out, err := Reopen(o.Dir)
	if err != nil {
		return nil, catalogue.Plan{}, nil, err
	}
	plan, err := o.remaining(out)
	if err != nil {
		folder.Close()
		return nil, catalogue.Plan{}, nil, err
	}
	o.Profile, o.planned = plan.Profile, out.Run.Planned
	return folder, plan, out, nil
}

// run gives each host its share, one after the other: two hosts at once would
// share this machine's processors.
func (o Options) run(ctx context.Context, plan catalogue.Plan, folder *Folder) error {
	shares, err := o.Shares(ctx, plan)
	if err != nil {
		return err
	}
	for _, s := range shares {
		if ctx.Err() != nil || o.FailFast && folder.bad() {
			return nil
		}
		if err := o.runShare(ctx, plan, s, folder.dir); err != nil {
			return err
		}
	}
	return nil
}

// Shares says which host runs what of a plan. For auto this machine is probed,
// which takes a sandbox.
func (o Options) Shares(ctx context.Context, plan catalogue.Plan) ([]Share, error) {
	if o.Host.Kind != Auto {
		return []Share{{Host: Host{Kind: cmp.Or(o.Host.Kind, Container), PC: o.Host.PC}, Plan: plan}}, nil
	}
	answers, err := ask(ctx, o.Place, plan.Needs(), o.Stderr)
	if err != nil {
		return nil, fmt.Errorf("choose hosts: %w", err)
	}
	return assign(plan, byName(factsOf(answers))), nil
}

// runShare runs one host's share and waits for its end.
func (o Options) runShare(ctx context.Context, plan catalogue.Plan, s Share, dir string) error {
	j, err := o.job(plan, s)
	if err != nil {
		return err
	}
	for _, why := range s.Why {
		fmt.Fprintf(o.Stdout, "host %s for %s\n", s.Host, why)
	}
	switch s.Host.Kind {
	case Metal:
		client := remote.SSH{PC: s.Host.PC}
		if o.ssh != nil {
			client = *o.ssh
			client.PC = s.Host.PC
		}
		return j.onMetal(ctx, client, dir, o.Stdout)
	case VM:
		return j.enter(ctx, o.entryOr(vmEntry), o.Place, dir, o.Stdout, o.Stderr)
	}
	return j.enter(ctx, o.entryOr(entry), o.Place, dir, o.Stdout, o.Stderr)
}

// job is what a host is told of its share.
func (o Options) job(plan catalogue.Plan, s Share) (job, error) {
	host, err := os.Hostname()
	if err != nil {
		return job{}, fmt.Errorf("ask for the host's name: %w", err)
	}
	return job{Selectors: s.Plan.IDs(), Profile: o.Profile, Accel: o.Accel, FailFast: o.FailFast, Command: o.Command,
		HostName: host, Terminal: o.Terminal, Color: o.Color, Kind: s.Host.Kind, Auto: o.Host.Kind == Auto, Why: s.Why,
		Planned: o.whole(plan), Excluded: plan.Excluded, cases: o.cases}, nil
}

// whole is what the run has planned, of which plan may be what is left.
func (o Options) whole(plan catalogue.Plan) []string {
	if o.planned != nil {
		return o.planned
	}
	return plan.IDs()
}

func (o Options) entryOr(name string) string {
	if o.entry != "" {
		return o.entry
	}
	return name
}

// plan is what the job runs, with the instances of one lab together.
func (j job) plan() (catalogue.Plan, error) {
	return Options{Selectors: j.Selectors, Axes: j.Axes, Profile: j.Profile, cases: j.cases}.Plan()
}

// enter gives the job to an entry of a sandbox, which writes to dir.
func (j job) enter(ctx context.Context, entry string, p place.Place, dir string, stdout, stderr io.Writer) error {
	if entry != vmEntry { // the inside of a VM is asked there
		j.Appliance = applianceImage(applianceFile)
	}
	spec, err := p.Sandbox(entry, j, sandbox.Bind{Source: dir, Target: place.InsideOut})
	if err != nil {
		return err
	}
	spec = place.OwnModules(spec)
	spec.Stdout, spec.Stderr = stdout, stderr
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
