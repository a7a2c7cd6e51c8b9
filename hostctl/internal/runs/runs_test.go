package runs

import (
	"bytes"
	"context"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/internal/probe"
	"picolab/hostctl/lab"
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

// otherModels names cases that the quick profile runs with one model, and the case that does the same with all.
var otherModels = map[string]string{"vnic.pxe": "vhostnet.pxe"}

// TestQuickRunsTheDocumentsModels shows that the quick profile leaves out no card
// of the documents' that a case is run on, and no card at all of the catalogue as
// a whole.
func TestQuickRunsTheDocumentsModels(t *testing.T) {
	set, err := Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	inFull, inQuick := map[string]bool{}, map[string]bool{}
	for _, c := range set.Cases() {
		full, quick := models(t, set, c, catalogue.Full), models(t, set, c, catalogue.Quick)
		if other := set.Case(otherModels[c.ID]); other != nil {
			quick = models(t, set, other, catalogue.Quick)
		}
		for _, m := range full {
			inFull[m] = true
			if slices.Contains([]string{"virtio", "e1000", "rtl8139"}, m) && !slices.Contains(quick, m) {
				t.Errorf("%s: full has %v, quick %v", c.ID, full, quick)
			}
		}
		for _, m := range quick {
			inQuick[m] = true
		}
	}
	if !maps.Equal(inFull, inQuick) || len(inFull) < 6 {
		t.Errorf("full has %v, quick %v", inFull, inQuick)
	}
}

// TestEveryLabIsPossible shows that each combination of the full profile is a lab that can be asked for.
func TestEveryLabIsPossible(t *testing.T) {
	plan, err := Options{Profile: catalogue.Full}.Plan()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range plan.Groups {
		if err := (catalogue.Booter{Accel: lab.AccelTCG}).Spec(g.Topology).Validate(); err != nil {
			t.Errorf("%v of %s: %v", g.Topology, g.Instances[0].ID(), err)
		}
	}
	t.Logf("%d labs for %d instances", len(plan.Groups), len(plan.Instances()))
}

// TestEveryCardHasItsParameters shows that a case with a parameter for a card has one for each that it is run on.
func TestEveryCardHasItsParameters(t *testing.T) {
	set, err := Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range set.Cases() {
		all := models(t, set, c, catalogue.Full)
		lacks := func(model string) bool { _, ok := c.Params.Full[model]; return !ok }
		lacking := slices.DeleteFunc(slices.Clone(all), func(m string) bool { return !lacks(m) })
		if len(lacking) > 0 && len(lacking) < len(all) {
			t.Errorf("%s: no parameter for %v", c.ID, lacking)
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

// TestQuickIsQuick bounds what the quick profile takes on two emulated cores when all goes well, and how many guests it
// boots for it.
func TestQuickIsQuick(t *testing.T) {
	plan, err := Options{Profile: catalogue.Quick, Axes: map[string][]string{"vhost": {"off"}}}.Plan()
	if err != nil {
		t.Fatal(err)
	}
	guests := 0
	for _, g := range plan.Groups {
		guests += len(g.Topology.Guests)
	}
	took := plan.Estimate(catalogue.PaceOf(lab.AccelTCG))
	t.Logf("%d instances on %d labs with %d guests, about %v", len(plan.Instances()), len(plan.Groups), guests, took)
	if took > 25*time.Minute || guests > 80 {
		t.Errorf("%v and %d guests, want at most 25 minutes and 80", took, guests)
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
	if out.ExitCode() == 0 || len(out.Missing()) != 12 {
		t.Errorf("exit code %d, missing %v", out.ExitCode(), out.Missing())
	}
	if _, err := os.Stat(filepath.Join(dir, "out", "junit.xml")); err != nil {
		t.Error(err)
	}
}
