package assemble_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"picolab/images/assemble"
	"picolab/images/internal/imagetest"
	"picolab/images/manifest"
)

func bench(t *testing.T, recipe string) (*imagetest.Bench, assemble.Options) {
	t.Helper()
	if testing.Short() {
		t.Skip("compiles a busybox")
	}
	b := imagetest.New(t, t.TempDir())
	return b, b.Options(t, recipe)
}

func build(t *testing.T, opt assemble.Options) *assemble.Result {
	t.Helper()
	res, err := assemble.Image(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// TestImageIsReproducible builds under two umasks, folders, homes, time zones, numbers of CPUs and with nothing cached
// but downloads and Go's own cache; labimage verify has a test without that one too.
func TestImageIsReproducible(t *testing.T) {
	for _, recipe := range []string{"guest", "host"} {
		t.Run(recipe, func(t *testing.T) {
			_, opt := bench(t, recipe)
			first := build(t, opt)
			goCache(t)
			other := opt
			other.Output, other.Derived = filepath.Join(t.TempDir(), "deep", "er", "image"), t.TempDir()
			other.ModuleDir = filepath.Join(t.TempDir(), "src")
			imagetest.WriteSource(t, other.ModuleDir)
			t.Chdir(t.TempDir())
			t.Setenv("TZ", "Asia/Kathmandu")
			t.Setenv("LC_ALL", "tr_TR.UTF-8")
			t.Setenv("GOMAXPROCS", "1")
			defer syscall.Umask(syscall.Umask(0o077))
			second := build(t, other)
			if err := assemble.Compare(t.Context(), opt.Output, other.Output); err != nil {
				t.Error(err)
			}
			if a, b := first.Manifest.Encode(), second.Manifest.Encode(); !bytes.Equal(a, b) {
				t.Errorf("manifests differ:\n%s\n%s", a, b)
			}
			wantModes(t, other.Output)
		})
	}
}

// goCache pins the go command's caches before the home changes.
func goCache(t *testing.T) {
	t.Helper()
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"GOCACHE": ".cache/go-build", "GOMODCACHE": "go/pkg/mod"} {
		if os.Getenv(name) == "" {
			t.Setenv(name, filepath.Join(home, dir))
		}
	}
	t.Setenv("HOME", t.TempDir())
}

// wantModes fails when the umask shows.
func wantModes(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if perm := info.Mode().Perm(); perm&0o044 != 0o044 {
			t.Errorf("%s has mode %o", e.Name(), perm)
		}
	}
}

// TestCompareNamesTheFirstDifference shows that the comparison can fail, for each part of an image.
func TestCompareNamesTheFirstDifference(t *testing.T) {
	b, opt := bench(t, "guest")
	build(t, opt)
	tests := []struct {
		recipe           string // replacement in the guest recipe: old|new
		file, path, what string
	}{
		{"welcome|farewell", "base.cpio.zst", "etc/motd", "size"},
		{"0640|0644", "base.cpio.zst", "etc/motd", "mode 0640, 0644"},
		{"load: [leaf]|load: []", "modules.cpio.zst", "etc/picolab/modules", "size"},
		{"quiet|debug", manifest.Name, "", `"quiet", "debug"`},
	}
	for i, tt := range tests {
		old, new, _ := strings.Cut(tt.recipe, "|")
		imagetest.Write(t, b.Dir, map[string]string{"guest.yaml": strings.Replace(imagetest.Guest, old, new, 1)})
		other := b.Options(t, "guest")
		other.Output = filepath.Join(b.Dir, "other", string(rune('a'+i)))
		build(t, other)
		var diff *assemble.DifferenceError
		err := assemble.Compare(t.Context(), opt.Output, other.Output)
		if !errors.As(err, &diff) {
			t.Errorf("%s: %v, want a DifferenceError", tt.recipe, err)
			continue
		}
		if diff.File != tt.file || diff.Path != tt.path || !strings.Contains(diff.What, tt.what) {
			t.Errorf("%s: %v", tt.recipe, diff)
		}
	}
}

func TestUnchangedFilesAreKept(t *testing.T) {
	b, opt := bench(t, "guest")
	build(t, opt)
	before := inodes(t, opt.Output)
	if res := build(t, opt); !res.Fresh {
		t.Error("the second build was not up to date")
	}
	imagetest.Write(t, b.Source, map[string]string{"greet/greet.go": "package greet\n\nfunc Say() { println(\"bye\") }\n"})
	if res := build(t, opt); res.Fresh {
		t.Error("a changed command gave no new image")
	}
	after := inodes(t, opt.Output)
	for _, name := range []string{"vmlinuz", "base.cpio.zst", "modules.cpio.zst"} {
		if before[name] != after[name] {
			t.Errorf("%s was written again", name)
		}
	}
	if before["payload.cpio.zst"] == after["payload.cpio.zst"] {
		t.Error("payload.cpio.zst is the old one")
	}
	if m, err := manifest.Read(opt.Output); err != nil || m.Verify(t.Context()) != nil {
		t.Errorf("the image does not verify: %v", err)
	}
}

func inodes(t *testing.T, dir string) map[string]uint64 {
	t.Helper()
	out := make(map[string]uint64)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = info.Sys().(*syscall.Stat_t).Ino
	}
	return out
}

func TestInterruptedImage(t *testing.T) {
	_, opt := bench(t, "host")
	build(t, opt) // fills the caches
	steps := []string{"reading", "writing"}
	for _, step := range steps {
		ctx, cancel := context.WithCancel(t.Context())
		other := opt
		other.Output = filepath.Join(t.TempDir(), "image")
		other.Progress = func(s string) {
			if strings.HasPrefix(s, step) {
				cancel()
			}
		}
		if _, err := assemble.Image(ctx, other); !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted while %s: %v", step, err)
		}
		left, _ := filepath.Glob(filepath.Join(filepath.Dir(other.Output), "*"))
		if len(left) != 1 || filepath.Base(left[0]) != ".image.lock" {
			t.Errorf("interrupted while %s, left behind: %v", step, left)
		}
	}
}
