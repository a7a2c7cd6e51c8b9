package runs

import (
	"path/filepath"
	"slices"
	"testing"

	"picolab/hostctl/report"
)

// TestAddPart: what a second host adds to the description of a run is its part.
func TestAddPart(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"first", "second"} {
		part := report.Run{Format: 1, Planned: []string{"a", "b"}, Parts: []report.Part{{Image: name}}}
		if err := addPart(dir, part); err != nil {
			t.Fatal(err)
		}
	}
	run, err := report.ReadRun(filepath.Join(dir, report.RunFile))
	if err != nil || len(run.Parts) != 2 || run.Parts[1].Image != "second" || !slices.Equal(run.Planned, []string{"a", "b"}) {
		t.Errorf("%+v, %v", run, err)
	}
}
