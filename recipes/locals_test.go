package recipes

import (
	"os"
	"path/filepath"
	"testing"
)

// TestLocals resolves each path against the file that says it, and names it from the recipe that is built.
func TestLocals(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "base"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "base", "base.yaml"), minimal+"files: [{path: /a, source: a.bin}, {path: /b, source: ../b.bin}]\nkernel: {package: linux, extra: [{path: one.ko}]}\n")
	child := write(t, filepath.Join(dir, "child.yaml"), "name: child\nextends: ./base/base.yaml\nfiles: [{path: /c, source: c.bin}, {path: /d, source: /abs/d}]\nkernel: {extra: [{path: two.deb}]}\n")
	r, err := Open(child)
	if err != nil {
		t.Fatal(err)
	}
	want := []LocalFile{
		{Node: "files[0]", Name: "base/a.bin", Path: filepath.Join(dir, "base/a.bin")},
		{Node: "files[1]", Name: "b.bin", Path: filepath.Join(dir, "b.bin")},
		{Node: "files[2]", Name: "c.bin", Path: filepath.Join(dir, "c.bin")},
		{Node: "files[3]", Name: "/abs/d", Path: "/abs/d"},
		{Node: "kernel.extra[0]", Name: "base/one.ko", Path: filepath.Join(dir, "base/one.ko")},
		{Node: "kernel.extra[1]", Name: "two.deb", Path: filepath.Join(dir, "two.deb")},
	}
	got := r.Locals()
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %+v, want %+v", got[i], want[i])
		}
	}
}

// TestKernelsReplaceEachOther: a recipe that extends another may change a packaged kernel for its own, and back.
func TestKernelsReplaceEachOther(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), minimal+"kernel: {package: linux, modules: [e1000]}\n")
	write(t, filepath.Join(dir, "b.yaml"), "extends: ./a.yaml\nkernel: {image: {path: k/bzImage}, tree: {path: k}}\n")
	write(t, filepath.Join(dir, "c.yaml"), "extends: ./b.yaml\nkernel: {package: other}\n")
	b, err := Open(filepath.Join(dir, "b.yaml"))
	if err != nil || b.Kernel.Package != "" || b.Kernel.Image.Path != "k/bzImage" || len(b.Kernel.Modules) != 1 || len(b.Locals()) != 2 {
		t.Errorf("%+v, %v", b, err)
	}
	c, err := Open(filepath.Join(dir, "c.yaml"))
	if err != nil || c.Kernel.Package != "other" || c.Kernel.Image.Path != "" || len(c.Locals()) != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestTakes(t *testing.T) {
	some := Suite{Only: []string{"linux-image-*", "tool"}}
	for name, want := range map[string]bool{"linux-image-amd64": true, "tool": true, "toolbox": false, "linux-libc-dev": false} {
		if some.Takes(name) != want || !(Suite{}).Takes(name) {
			t.Errorf("%s: %v", name, some.Takes(name))
		}
	}
}
