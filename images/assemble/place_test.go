package assemble

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picolab/images/manifest"
)

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func mustOpenPlace(t *testing.T, dir string) *place {
	t.Helper()
	p, err := openPlace(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

// fillWith makes an image with one file.
func fillWith(content string) func(string) error {
	return func(dir string) error { return os.WriteFile(filepath.Join(dir, kernelFile), []byte(content), 0o644) }
}

func wantImage(t *testing.T, dir, content string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, kernelFile))
	if err != nil || string(data) != content {
		t.Errorf("the image has %q, %v, want %q", data, err, content)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".*")); len(left) > 1 { // the lock
		t.Errorf("beside it: %v", left)
	}
}

func TestReplace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "image [1]*")
	p := mustOpenPlace(t, dir)
	for _, content := range []string{"first", "second", "third"} {
		if err := p.replace(fillWith(content)); err != nil {
			t.Fatal(err)
		}
		wantImage(t, dir, content)
	}
	failure := errors.New("no space left")
	err := p.replace(func(tmp string) error { return errors.Join(fillWith("half")(tmp), failure) })
	if !errors.Is(err, failure) {
		t.Errorf("error %v", err)
	}
	wantImage(t, dir, "third")
}

func TestSwapWithoutExchange(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "image")
	p := mustOpenPlace(t, dir)
	if err := p.replace(fillWith("old")); err != nil {
		t.Fatal(err)
	}
	tmp := beside(dir, "new")
	if err := errors.Join(os.Mkdir(tmp, 0o755), fillWith("new")(tmp), p.swapInTwo(tmp)); err != nil {
		t.Fatal(err)
	}
	wantImage(t, dir, "new")
}

func TestOpenPlaceSweepsLeftovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "image")
	writeFile(t, filepath.Join(dir, kernelFile), "whole")
	writeFile(t, filepath.Join(beside(dir, "new"), "locked", "x"), "half")
	writeFile(t, filepath.Join(beside(dir, "old-1"), "x"), "old")
	if err := os.Chmod(filepath.Join(beside(dir, "new"), "locked"), 0o555); err != nil {
		t.Fatal(err)
	}
	mustOpenPlace(t, dir)
	wantImage(t, dir, "whole")
}

func TestOneBuildAtATime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "image")
	first, err := openPlace(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	told := ""
	if _, err := openPlace(ctx, dir, func(s string) { told = s }); !errors.Is(err, context.DeadlineExceeded) || told == "" {
		t.Errorf("the second one: %v, told %q", err, told)
	}
	first.close()
	mustOpenPlace(t, dir)
}

func TestForeignDirectoriesAreRefused(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "home", "letter"), "dear")
	writeFile(t, filepath.Join(dir, "file"), "text")
	for _, out := range []string{filepath.Join(dir, "home"), filepath.Join(dir, "file")} {
		var refused *NotImageError
		if _, err := openPlace(t.Context(), out, nil); !errors.As(err, &refused) {
			t.Errorf("%s: %v, want a NotImageError", out, err)
		}
	}
}

func TestFilesOfAnotherVersionAreReplaced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "image")
	m := &manifest.Manifest{Format: manifest.Format, Files: []manifest.File{
		{Name: "initrd.old", Role: manifest.RoleSegment, SHA256: strings.Repeat("0", 64)}}}
	writeFile(t, filepath.Join(dir, manifest.Name), string(m.Encode()))
	writeFile(t, filepath.Join(dir, "initrd.old"), "segment")
	mustOpenPlace(t, dir).close()
	writeFile(t, filepath.Join(dir, "letter"), "dear")
	var refused *NotImageError
	if _, err := openPlace(t.Context(), dir, nil); !errors.As(err, &refused) || refused.Found != "letter" {
		t.Errorf("%v, want a NotImageError for the letter", err)
	}
}

func TestInUse(t *testing.T) {
	if inUse(t.TempDir()) {
		t.Error("a fresh directory is in use")
	}
}

func TestGlanceSeesChanges(t *testing.T) {
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "a", "file"), "text")
	if err := os.Symlink("file", filepath.Join(root, "a", "link")); err != nil {
		t.Fatal(err)
	}
	changes := []func() error{
		func() error { return os.WriteFile(filepath.Join(root, "a", "file"), []byte("texts"), 0o644) },
		func() error { return os.Chmod(filepath.Join(root, "a", "file"), 0o600) },
		func() error { return os.Chtimes(filepath.Join(root, "a", "file"), time.Time{}, time.Unix(1, 0)) },
		func() error { return os.WriteFile(filepath.Join(root, "b"), nil, 0o644) },
		func() error {
			return errors.Join(os.Remove(filepath.Join(root, "a", "link")), os.Symlink("elsewhere", filepath.Join(root, "a", "link")))
		},
		func() error { return os.Remove(filepath.Join(root, "b")) },
	}
	seen := map[string]bool{glance(root): true}
	for i, change := range changes[:5] {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if g := glance(root); g == "" || seen[g] {
			t.Errorf("change %d is not seen", i)
		} else {
			seen[g] = true
		}
	}
	if g := glance(filepath.Join(root, "nothing")); g != "" {
		t.Errorf("a missing tree looks like %q", g)
	}
}
