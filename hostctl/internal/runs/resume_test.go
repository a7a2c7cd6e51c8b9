package runs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"picolab/hostctl/report"
)

// stopped is a run's folder as a kill leaves it: some results, the last line torn.
func stopped(t *testing.T, whole, torn string) (dir string, o Options) {
	t.Helper()
	o = Options{Selectors: []string{"vnic.driver-info", "vnic.link-status-on"}, Profile: "quick",
		Axes: map[string][]string{"nic": {"virtio", "e1000"}, "vhost": {"off"}, "backend": {"tap"}}}
	plan, err := o.Plan()
	if err != nil {
		t.Fatal(err)
	}
	set, err := Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	o.Dir = filepath.Join(t.TempDir(), "run")
	folder, err := Prepare(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	run := report.Run{Format: 1, Profile: "quick", Catalogue: set.Digest(), Planned: plan.IDs()}
	if err := report.WriteJSON(filepath.Join(o.Dir, report.RunFile), run); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(resultsOf(o.Dir), []byte(whole+torn), 0o644); err != nil {
		t.Fatal(err)
	}
	return o.Dir, o
}

const oneDone = `{"case":"vnic.driver-info","instance":"vnic.driver-info[backend=tap,machine=q35,nic=e1000,vhost=off]","result":"PASS","reason":"","seconds":3}` + "\n"

// TestRemaining: what has a whole line is not run again, what was torn is, and the selection is the run's own.
func TestRemaining(t *testing.T) {
	dir, _ := stopped(t, oneDone, `{"case":"vnic.driver-info","instance":"vnic.dri`)
	o := Options{Dir: dir, Resume: true, Profile: "full"}
	folder, plan, out, err := o.open()
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	ids := plan.IDs()
	slices.Sort(ids)
	want := []string{"vnic.driver-info[backend=tap,machine=q35,nic=virtio,vhost=off]", "vnic.link-status-on[backend=tap,machine=q35,nic=e1000,vhost=off]", "vnic.link-status-on[backend=tap,machine=q35,nic=virtio,vhost=off]"}
	if !slices.Equal(ids, want) {
		t.Errorf("left are %q", ids)
	}
	if o.Profile != "quick" || len(o.whole(plan)) != 4 || out.Seconds != 3 {
		t.Errorf("profile %s, %d planned, %v s", o.Profile, len(o.whole(plan)), out.Seconds)
	}
	data, err := os.ReadFile(resultsOf(dir))
	if err != nil || string(data) != oneDone {
		t.Errorf("results are %q, %v", data, err)
	}
	if _, _, err := Reopen(dir); !errors.Is(err, ErrFolder) {
		t.Errorf("reopened while it is held: %v", err)
	}
}

func TestResumeRefuses(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"another catalogue": func(dir string) error {
			run, err := report.ReadRun(filepath.Join(dir, report.RunFile))
			if err != nil {
				return err
			}
			run.Catalogue = "another"
			return report.WriteJSON(filepath.Join(dir, report.RunFile), run)
		},
		"no run":          func(dir string) error { return os.Remove(filepath.Join(dir, report.RunFile)) },
		"broken results":  func(dir string) error { return os.WriteFile(resultsOf(dir), []byte("{}\n"), 0o644) },
		"somebody else's": func(dir string) error { return os.WriteFile(filepath.Join(dir, "mine"), nil, 0o644) },
	} {
		dir, _ := stopped(t, oneDone, "")
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		o := Options{Dir: dir, Resume: true}
		if _, _, _, err := o.open(); !errors.Is(err, ErrFolder) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestResume stops a run with real guests after its first result and goes on with it.
func TestResume(t *testing.T) {
	t.Parallel()
	o := real(t)
	o.Selectors = []string{"vnic.driver-info", "vnic.features-default"}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Stdout = stopAt{strings.ToUpper(string(report.Pass)), cancel, o.Stdout.(testWriter)}
	first, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if !first.Interrupted || len(first.Results) != 1 {
		needTap(t, first)
		t.Fatalf("interrupted is %v with %d results", first.Interrupted, len(first.Results))
	}
	again := real(t)
	again.Dir, again.Resume = o.Dir, true
	out, err := Run(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	if out.ExitCode() != report.ExitGreen || out.Count(report.Pass) != 2 || len(out.Run.Planned) != 2 {
		t.Errorf("exit code %d, %d PASS of %d planned", out.ExitCode(), out.Count(report.Pass), len(out.Run.Planned))
	}
	if !out.Results[0].Started.Equal(first.Results[0].Started) {
		t.Error("what had a result was run again")
	}
}

// stopAt cancels when a word is written.
type stopAt struct {
	word   string
	cancel context.CancelFunc
	to     testWriter
}

func (s stopAt) Write(p []byte) (int, error) {
	if strings.Contains(string(p), s.word) {
		s.cancel()
	}
	return s.to.Write(p)
}
