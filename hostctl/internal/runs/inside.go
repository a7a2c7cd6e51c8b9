package runs

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/internal/place"
	"picolab/hostctl/internal/probe"
	"picolab/hostctl/internal/sandbox"
	"picolab/hostctl/lab"
	"picolab/hostctl/report"
	"picolab/images/manifest"
)

// entry is the sandbox's entry function of a run.
const entry = "run"

func init() { sandbox.Register(entry, inside) }

// job is what the inside is told.
type job struct {
	Selectors []string            `json:"selectors"`
	Axes      map[string][]string `json:"axes"`
	Profile   catalogue.Profile   `json:"profile"`
	Accel     string              `json:"accel"`
	FailFast  bool                `json:"fail_fast"`
	Command   []string            `json:"command"`
	HostName  string              `json:"host_name"`
	Terminal  bool                `json:"terminal"`
	Color     bool                `json:"color"`

	cases func() (*catalogue.Set, error)
}

// inside runs a job.  Its exit code says only whether it came to its end.
func inside(ctx context.Context, payload []byte) int { return insideWith(Catalogue)(ctx, payload) }

// insideWith is [inside] for the cases of a set.
func insideWith(cases func() (*catalogue.Set, error)) func(context.Context, []byte) int {
	return func(ctx context.Context, payload []byte) int { return job{cases: cases}.main(ctx, payload) }
}

func (j job) main(ctx context.Context, payload []byte) int {
	err := json.Unmarshal(payload, &j)
	if err == nil {
		err = j.run(ctx)
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "hostctl run:", err)
		return report.ExitError
	}
	return 0
}

func (j job) run(ctx context.Context) error {
	plan, err := Options{Selectors: j.Selectors, Axes: j.Axes, Profile: j.Profile, cases: j.cases}.Plan()
	if err != nil {
		return err
	}
	facts, err := j.probe(ctx, plan)
	if err != nil {
		return err
	}
	run, err := j.describe(ctx, plan, facts)
	if err != nil {
		return err
	}
	if err := report.WriteJSON(filepath.Join(place.InsideOut, report.RunFile), run); err != nil {
		return err
	}
	results, err := report.Create(filepath.Join(place.InsideOut, report.ResultsFile))
	if err != nil {
		return err
	}
	defer results.Close()
	return j.runner(run, results).run(ctx, plan, j)
}

// probe asks what the plan needs and which accelerator there is.
func (j job) probe(ctx context.Context, plan catalogue.Plan) ([]report.Fact, error) {
	var facts []report.Fact
	for _, p := range probe.Some(ctx, probe.Options{Cache: place.InsideCache, Disk: place.InsideOut}, plan.Needs()...) {
		facts = append(facts, report.Fact{Name: p.Name, OK: p.OK, Evidence: p.Evidence, Remedy: p.Remedy})
	}
	if j.Accel == lab.AccelTCG {
		return append(facts, report.Fact{Name: probe.KVM, Evidence: "not asked: --accel tcg"}), nil
	}
	ok, evidence := probe.AskKVM(ctx, place.InsideCache)
	if !ok && j.Accel == lab.AccelKVM {
		return nil, fmt.Errorf("accelerator kvm does not work here: %s", evidence)
	}
	return append(facts, report.Fact{Name: probe.KVM, OK: ok, Evidence: evidence}), nil
}

// running is a runner with what it writes to.
type running struct {
	catalogue.Runner
}

func (j job) runner(run report.Run, results *report.Writer) *running {
	r := &running{}
	nesting, _ := probe.NestingLevel()
	r.Boot = catalogue.Booter{Accel: run.Host.Accel, Nesting: nesting, Images: place.InsideImages, Cache: place.InsideCache}.Boot
	r.Probes = map[string]report.Fact{}
	for _, f := range run.Facts {
		r.Probes[f.Name] = f
	}
	r.Dir, r.Host, r.Image, r.FailFast, r.Result = place.InsideOut, run.Host, run.Image, j.FailFast, results.Add
	return r
}

func (r *running) run(ctx context.Context, plan catalogue.Plan, j job) error {
	progress := catalogue.NewProgress(os.Stdout, len(plan.Instances()), j.Terminal, j.Color)
	defer progress.Close()
	r.Watch = progress
	return r.Run(ctx, plan)
}

// describe says what is the same for all instances.
func (j job) describe(ctx context.Context, plan catalogue.Plan, facts []report.Fact) (report.Run, error) {
	set, err := j.cases()
	if err != nil {
		return report.Run{}, err
	}
	guest, err := manifest.Read(filepath.Join(place.InsideImages, "guest"))
	if err != nil {
		return report.Run{}, err
	}
	versions := versions(ctx, guest)
	host := report.Host{Name: j.HostName, Kernel: kernel(), Accel: lab.AccelTCG, QEMU: versions["qemu"]}
	for _, f := range facts {
		if f.Name == probe.KVM && f.OK {
			host.Accel = lab.AccelKVM
		}
	}
	return report.Run{Format: 1, Started: time.Now().UTC(), Profile: string(j.Profile), Command: j.Command, Host: host,
		Image: guest.ID, Versions: versions, Facts: append(facts, machine()...), Catalogue: set.Digest(),
		Planned: plan.IDs(), Excluded: plan.Excluded}, nil
}
