package runs

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/internal/probe"
	"picolab/hostctl/report"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestCatalogueIsPinned shows every change of a criterion, a parameter or an
// axis as a change of a golden file.
func TestCatalogueIsPinned(t *testing.T) {
	set, err := Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "catalogue.json")
	if *update {
		if err := os.WriteFile(path, set.JSON(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(set.JSON(), want) {
		t.Error("the catalogue's data differ from testdata/catalogue.json; if that is wanted: go test -update")
	}
}

// TestNeedsAreProbed shows that no case needs what no probe answers.
func TestNeedsAreProbed(t *testing.T) {
	plan, err := Options{Profile: catalogue.Full}.Plan()
	if err != nil {
		t.Fatal(err)
	}
	for _, need := range plan.Needs() {
		if !strings.HasPrefix(need, "mod.") && !slices.Contains(probe.Names(), need) {
			t.Errorf("need %s has no probe", need)
		}
	}
}

// TestQuickRunsEveryModel shows that the quick profile leaves out parameters and
// not cards.
func TestQuickRunsEveryModel(t *testing.T) {
	set, err := Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range set.Cases() {
		full, quick := models(t, set, c, catalogue.Full), models(t, set, c, catalogue.Quick)
		if !slices.Equal(full, quick) || len(full) == 0 {
			t.Errorf("%s: full has %v, quick %v", c.ID, full, quick)
		}
	}
}

func models(t *testing.T, set *catalogue.Set, c *catalogue.Case, p catalogue.Profile) []string {
	t.Helper()
	sel, err := set.Select([]string{c.ID}, nil, p)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, in := range sel.Instances {
		nic, _ := in.Value("nic")
		all = append(all, nic)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestBoots pins how many labs the quick profile boots where there are taps, when all goes well.
func TestBoots(t *testing.T) {
	plan, err := Options{Profile: catalogue.Quick, Axes: map[string][]string{"vhost": {"off"}}}.Plan()
	if err != nil {
		t.Fatal(err)
	}
	plan = plan.Settle(map[string]report.Fact{probe.Tap: {OK: true}})
	guests := 0
	for _, g := range plan.Groups {
		guests += len(g.Topology.Guests)
	}
	if len(plan.Groups) != 11 || guests != 15 {
		t.Errorf("%d labs with %d guests, want 11 with 15", len(plan.Groups), guests)
	}
}

func TestPrepare(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	f, err := Prepare(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Prepare(dir); err == nil || !strings.Contains(err.Error(), "held by another process") {
		t.Errorf("a second run at once: %v", err)
	}
	left := filepath.Join(dir, casesDir, "old")
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Fatal(err)
	}
	f.Close()
	f, err = Prepare(dir)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("an earlier run's evidence is left: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Prepare(dir); err == nil || !strings.Contains(err.Error(), "thesis.tex") {
		t.Errorf("a folder with something else: %v", err)
	}
}

// TestRunWithoutImages shows that a machine without a host image gets an error
// with a remedy, and still a report that is not green.
func TestRunWithoutImages(t *testing.T) {
	dir := t.TempDir()
	o := Options{Selectors: []string{"vnic.driver-info"}, Profile: catalogue.Quick, Dir: filepath.Join(dir, "out")}
	o.Place.Images, o.Place.Cache = filepath.Join(dir, "images"), dir
	out, err := Run(context.Background(), o)
	if err == nil || !strings.Contains(err.Error(), "labimage build host") {
		t.Errorf("error %v", err)
	}
	if out.ExitCode() == 0 || len(out.Missing()) != 6 {
		t.Errorf("exit code %d, missing %v", out.ExitCode(), out.Missing())
	}
	if _, err := os.Stat(filepath.Join(dir, "out", "junit.xml")); err != nil {
		t.Error(err)
	}
}
