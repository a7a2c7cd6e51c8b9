package assemble

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picolab/images/manifest"
	"picolab/initramfs"
	"picolab/initramfs/tree"
	"picolab/recipes"
	"picolab/recipes/lock"
)

// treeOf makes a tree of small files.
func treeOf(t *testing.T, files map[string]string) *tree.Tree {
	t.Helper()
	out := tree.New()
	for path, text := range files {
		if err := out.Put(path, tree.Regular(0o644, tree.Bytes([]byte(text)))); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// carriedImage is an image of one file in a directory.
func carriedImage(t *testing.T) *manifest.Manifest {
	t.Helper()
	dir := t.TempDir()
	blob := tree.Bytes([]byte("kernel"))
	m := &manifest.Manifest{Name: "small", Files: []manifest.File{{Name: "vmlinuz", Role: manifest.RoleKernel, Size: 6, SHA256: fmt.Sprintf("%x", blob.SHA256())}}}
	err := errors.Join(os.WriteFile(filepath.Join(dir, "vmlinuz"), []byte("kernel"), 0o600), os.WriteFile(filepath.Join(dir, manifest.Name), m.Encode(), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	if m, err = manifest.Read(dir); err != nil {
		t.Fatal(err)
	}
	return m
}

// applianceWriter writes an appliance of a few files; the tools are those of the built host image, when there is one.
func applianceWriter(t *testing.T) *writer {
	t.Helper()
	w := &writer{
		Options: Options{Recipe: &recipes.Recipe{}, Lock: &lock.Lock{Epoch: 1_700_000_000}, Carried: []*manifest.Manifest{carriedImage(t)}, Derived: t.TempDir(), Output: t.TempDir()},
		layers: &initramfs.Layers{
			Root:        treeOf(t, map[string]string{"usr/bin/mksquashfs": "tool", "usr/lib/x86_64-linux-gnu/libc.so": "c", "etc/motd": "hello"}),
			RootModules: treeOf(t, map[string]string{"usr/lib/modules/1/modules.dep": ""}),
		},
		old: new(stamp), stamp: new(stamp), dir: t.TempDir(),
	}
	if images := os.Getenv("PICOLAB_IMAGES"); images != "" {
		if err := os.Symlink(filepath.Join(images, "host/root"), filepath.Join(w.dir, rootDir)); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func TestWholeRoot(t *testing.T) {
	w := applianceWriter(t)
	whole, err := w.wholeRoot()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"etc/motd", "usr/lib/modules/1/modules.dep", "usr/share/picolab/images/small/vmlinuz", "usr/share/picolab/images/small/manifest.json"} {
		if _, ok := whole.Get(path); !ok {
			t.Errorf("no %s", path)
		}
	}
	if _, ok := w.layers.Root.Get("usr/lib/modules"); ok {
		t.Error("the container's root got the kernel's modules")
	}
}

// TestRootKey: whatever decides the bytes decides the key.
func TestRootKey(t *testing.T) {
	key := func(change func(*writer)) string {
		w := applianceWriter(t)
		change(w)
		whole, err := w.wholeRoot()
		if err != nil {
			t.Fatal(err)
		}
		k, err := w.rootKey(whole)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	same := key(func(*writer) {})
	if key(func(*writer) {}) != same {
		t.Error("the same has two keys")
	}
	put := func(path string) func(*writer) {
		return func(w *writer) {
			w.layers.Root.Remove(path)
			if err := w.layers.Root.Put(path, tree.Regular(0o644, tree.Bytes([]byte("other")))); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, change := range map[string]func(*writer){
		"a file": put("etc/motd"), "the tool": put("usr/bin/mksquashfs"), "a library": put("usr/lib/x86_64-linux-gnu/libc.so"),
		"the time": func(w *writer) { w.Lock.Epoch++ }, "no image": func(w *writer) { w.Carried = nil },
	} {
		if key(change) == same {
			t.Errorf("%s changes nothing", name)
		}
	}
}

// TestRootFileIsCached packs once, and says so when the package with the tool is missing.
func TestRootFileIsCached(t *testing.T) {
	w := applianceWriter(t)
	packed := 0
	w.Progress = func(text string) { packed += strings.Count(text, "packing") }
	err := w.rootFile(t.Context())
	if os.Getenv("PICOLAB_IMAGES") == "" {
		if err == nil || !strings.Contains(err.Error(), "squashfs-tools") {
			t.Errorf("without the tool: %v", err)
		}
		t.Skip("PICOLAB_IMAGES not set: run make test")
	}
	if err != nil {
		t.Fatal(err)
	}
	first := w.files[0]
	if err := os.Remove(filepath.Join(w.dir, rootFile)); err != nil {
		t.Fatal(err)
	}
	w.files = nil
	if err := w.rootFile(t.Context()); err != nil || packed != 1 || w.files[0] != first || first.Role != manifest.RoleRoot {
		t.Errorf("%v, packed %d times, %v then %v", err, packed, first, w.files)
	}
	w.layers.RootModules, w.files = nil, nil
	if err := w.rootFile(t.Context()); err != nil || len(w.files) != 0 {
		t.Errorf("a host that is a container only: %v, %v", err, w.files)
	}
}

func TestPruneRoots(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	for i := range keepRoots + 2 {
		name := filepath.Join(dir, fmt.Sprintf("root%d", i))
		at := now.Add(-time.Duration(i) * time.Minute)
		if err := errors.Join(os.Mkdir(name, 0o755), os.Chtimes(name, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	for name, age := range map[string]time.Duration{".new-dead": 2 * time.Hour, ".new-alive": 0} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.Mkdir(path, 0o755), os.Chtimes(path, now.Add(-age), now.Add(-age))); err != nil {
			t.Fatal(err)
		}
	}
	if err := pruneRoots(dir); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "root*"))
	if len(left) != keepRoots {
		t.Errorf("left: %v", left)
	}
	if _, err := os.Stat(filepath.Join(dir, ".new-dead")); err == nil {
		t.Error("the leftover of a dead build stays")
	}
	if _, err := os.Stat(filepath.Join(dir, ".new-alive")); err != nil {
		t.Error("another build lost its work")
	}
}

func TestLimitOfTheImage(t *testing.T) {
	w := &writer{Options: Options{Recipe: &recipes.Recipe{Limits: recipes.Limits{Image: "1 kB"}}}}
	w.files = []manifest.File{{Name: "vmlinuz", Role: manifest.RoleKernel, Size: 400}, {Name: rootFile, Role: manifest.RoleRoot, Size: 600}, {Name: sbomFile, Role: manifest.RoleSBOM, Size: 5000}}
	if err := w.limitImage(context.Background()); err != nil {
		t.Error(err)
	}
	w.files[1].Size++
	var size *SizeError
	if err := w.limitImage(context.Background()); !errors.As(err, &size) || size.Field != "limits.image" || !strings.Contains(err.Error(), rootFile) {
		t.Errorf("error %v", err)
	}
}
