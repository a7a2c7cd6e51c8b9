package lock

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"picolab/recipes/fetch"
)

// damage overwrites every stored file with as many other bytes.
func damage(t testing.TB, s *fetch.Store) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.Path(), "sha256", "*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, bytes.Repeat([]byte{7}, int(info.Size())), 0o444); err != nil {
			t.Fatal(err)
		}
	}
}
