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

	Kind     string            `json:"kind"`               // of the host
	Nesting  int               `json:"nesting,omitempty"`  // emulated machines around the host, as far as they are known outside
	Tell     bool              `json:"tell,omitempty"`     // events instead of progress for people
	Inner    string            `json:"inner,omitempty"`    // entry of the sandbox on the host; "" is the usual one
	Auto     bool              `json:"auto,omitempty"`     // the host was chosen, and others were thought of
	Why      []string          `json:"why,omitempty"`      // why it was chosen
	Planned  []string          `json:"planned,omitempty"`  // of the whole run, of which this may be a part
	Excluded []report.Excluded `json:"excluded,omitempty"` // of the whole run

	Appliance string `json:"appliance,omitempty"` // the image that the host was started from

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
	plan, err := j.plan()
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
	if err := addPart(place.InsideOut, j.whole(run)); err != nil {
		return err
	}
	results, err := report.Append(filepath.Join(place.InsideOut, report.ResultsFile))
	if err != nil {
		return err
	}
	defer results.Close()
	return j.runner(run, results).run(ctx, plan, j)
}

// probe asks what the plan needs and which accelerator there is.
func (j job) probe(ctx context.Context, plan catalogue.Plan) ([]report.Fact, error) {
	facts := factsOf(probe.Some(ctx, probe.Options{Cache: place.InsideCache, Disk: place.InsideOut}, plan.Needs()...))
	if j.Auto {
		facts = alsoNotVM(facts)
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
	r.Boot = catalogue.Booter{Accel: run.Host.Accel, Nesting: run.Host.Nesting, Images: place.InsideImages, Modules: ownModules(), Cache: place.InsideCache}.Boot
	r.Probes = byName(run.Facts)
	r.Dir, r.Host, r.Image, r.FailFast, r.Result = place.InsideOut, run.Host, run.Image, j.FailFast, results.Add
	return r
}

// ownModules is where the host's agent finds modules that it may load, or "".
func ownModules() string {
	if _, err := os.Stat(place.InsideOwn); err != nil {
		return ""
	}
	return place.InsideOwn
}

func (r *running) run(ctx context.Context, plan catalogue.Plan, j job) error {
	if j.Tell {
		r.Watch = newTeller(os.Stdout)
		return r.Run(ctx, plan)
	}
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
	if j.Appliance != "" {
		versions["host image"] = j.Appliance
	}
	nesting, _ := probe.NestingLevel()
	host := report.Host{Name: j.HostName, Kind: j.Kind, Kernel: kernel(), Accel: lab.AccelTCG, QEMU: versions["qemu"], Nesting: max(nesting, j.Nesting)}
	for _, f := range facts {
		if f.Name == probe.KVM && f.OK {
			host.Accel = lab.AccelKVM
		}
	}
	return report.Run{Format: 1, Started: time.Now().UTC(), Profile: string(j.Profile), Command: j.Command, Host: host,
		Image: guest.ID + dirt(j.Appliance), Versions: versions, Facts: append(facts, machine()...), Catalogue: set.Digest(),
		Planned: plan.IDs(), Excluded: plan.Excluded}, nil
}

// whole makes the description of one host's part that of the run: with the plan of all parts.
func (j job) whole(run report.Run) report.Run {
	run.Parts = []report.Part{{Host: run.Host, Why: j.Why, Image: run.Image, Versions: run.Versions, Facts: run.Facts, Planned: run.Planned}}
	if j.Planned != nil {
		run.Planned, run.Excluded = j.Planned, j.Excluded
	}
	run.Profile, run.Command = string(j.Profile), j.Command
	return run
}

// addPart adds a part to what is known of the run in dir. The first one's host stands for the run.
func addPart(dir string, run report.Run) error {
	path := filepath.Join(dir, report.RunFile)
	if before, err := report.ReadRun(path); err == nil {
		before.Parts = append(before.Parts, run.Parts...)
		run = before
	}
	return report.WriteJSON(path, run)
}
