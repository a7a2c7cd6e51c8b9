package place

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"picolab/hostctl/internal/sandbox"
	"picolab/images/manifest"
)

// hostImage writes a host image with an unpacked root that has these files.
func hostImage(t *testing.T, files ...string) Place {
	t.Helper()
	p := Place{Images: t.TempDir(), Cache: t.TempDir()}
	dir := filepath.Join(p.Images, "host")
	m := &manifest.Manifest{Name: "host", Kind: manifest.KindHost, RootFS: &manifest.RootFS{Name: "root", SHA256: strings.Repeat("0", 64)}}
	for _, f := range append(files, ".keep") {
		path := filepath.Join(dir, "root", f)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, manifest.Name), m.Encode(), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestHostRoot(t *testing.T) {
	p := hostImage(t, "usr/bin/qemu-system-x86_64")
	if root, err := p.HostRoot(); err != nil || root != filepath.Join(p.Images, "host", "root") {
		t.Errorf("%q, %v", root, err)
	}
	if _, err := hostImage(t).HostRoot(); !errors.Is(err, ErrNoHost) {
		t.Errorf("a root without QEMU: %v", err)
	}
	if _, err := os.Stat(ApplianceRoot); err == nil {
		t.Skip("this is an appliance: it has a root of its own")
	}
	if _, err := (Place{Images: t.TempDir()}).HostRoot(); !errors.Is(err, ErrNoHost) {
		t.Errorf("no image: %v", err)
	}
}

// TestDefaultImages shows which folder is taken when none is named.
func TestDefaultImages(t *testing.T) {
	t.Chdir(t.TempDir())
	appliance := t.TempDir()
	if got := defaultImages(filepath.Join(appliance, "none")); got != DefaultImages {
		t.Errorf("nothing anywhere: %q", got)
	}
	if got := defaultImages(appliance); got != appliance {
		t.Errorf("in an appliance: %q", got)
	}
	if err := os.MkdirAll(DefaultImages, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := defaultImages(appliance); got != DefaultImages {
		t.Errorf("built here: %q", got)
	}
}

func TestNew(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("PICOLAB_CACHE", cache)
	t.Setenv("PICOLAB_IMAGES", "/from/environment")
	for arg, want := range map[string]string{"": "/from/environment", "/given": "/given"} {
		if p, err := New(arg); err != nil || p.Images != want || p.Cache != filepath.Join(cache, "lab") {
			t.Errorf("%q: %+v, %v", arg, p, err)
		}
	}
}

// TestOwnModules shows that only a machine that runs from a host image gives its modules away.
func TestOwnModules(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "usr/lib/modules"), 0o755); err != nil {
		t.Fatal(err)
	}
	for appliance, want := range map[string]bool{root: true, filepath.Join(root, "none"): false} {
		s := ownModules(sandbox.Spec{}, appliance, root)
		if s.Modules != want || want != (len(s.Binds) == 1) || want && (s.Binds[0].Target != "/run/lab/own/lib/modules" || !s.Binds[0].ReadOnly) {
			t.Errorf("appliance %v: %+v", want, s)
		}
	}
	if s := ownModules(sandbox.Spec{}, root, t.TempDir()); s.Modules || len(s.Binds) > 0 {
		t.Errorf("without modules: %+v", s)
	}
}
