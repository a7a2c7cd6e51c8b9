package runs

import (
	"os"
	"path/filepath"
	"testing"
)

// TestDirt: the id that results carry tells of a site folder.
func TestDirt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "image")
	if got := applianceImage(file); got != "" || dirt(got) != "" {
		t.Errorf("not in an appliance: %q", got)
	}
	for text, want := range map[string]string{"0123abcd\n": "", "0123abcd+dirty.0011223344ff\n": "+dirty.0011223344ff"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := dirt(applianceImage(file)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
