// Package imagetest makes everything that a build of an image takes, small enough for tests: a signed archive with a
// kernel and two packages, a guest and a host recipe, a source tree with one command.
package imagetest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"picolab/initramfs/bb"
	"picolab/recipes/debian/archivetest"
)

// Releases of the kernels in the archive: of the suite trixie, and of bookworm.
const (
	Release    = "6.1.0-test"
	OldRelease = "6.0.0-old"
)

// Date is that of the archive's suite.
var Date = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// A Bench is an archive and what builds from it. The folder has guest.yaml, host.yaml and archive.gpg; source is a
// source tree.
type Bench struct {
	*archivetest.Mirror
	Dir     string
	Keyring string
	Source  string
	key     archivetest.Key
}

// Guest and Host are the recipes. The guest's modules have a dependency.
const (
	Guest = `name: guest
kind: guest
architecture: amd64
suites: [{name: trixie, components: [main]}]
kernel:
  package: linux-image-6.1.0-test
  modules: [leaf]
  load: [leaf]
  command_line: [quiet]
init: hello
commands: [picolab/cmd/hello, github.com/u-root/u-root/cmds/core/echo]
files:
  - {path: /etc/motd, content: welcome, mode: "0640"}
limits: {boot: 20 MB}
`
	Host = `name: host
kind: host
architecture: amd64
suites: [{name: trixie, components: [main]}]
packages: [tool]
commands: [picolab/cmd/hello, github.com/u-root/u-root/cmds/core/echo]
files:
  - {path: /etc/passwd, content: "root:x:0:0:root:/root:/bin/sh\n"}
`
)

// New makes a Bench in dir.
func New(t testing.TB, dir string) *Bench {
	t.Helper()
	b := &Bench{Mirror: archivetest.NewMirror(t), Dir: dir, key: archivetest.NewKey(t)}
	b.Keyring = filepath.Join(dir, "archive.gpg")
	data, err := os.ReadFile(archivetest.Keyring(t, b.key))
	if err != nil {
		t.Fatal(err)
	}
	b.Source = filepath.Join(dir, "source")
	Write(t, dir, map[string]string{"guest.yaml": Guest, "host.yaml": Host, "archive.gpg": string(data)})
	WriteSource(t, b.Source)
	b.Publish(t, "1")
	return b
}

// Publish puts packages of a version into the archive, and takes those of earlier ones out.
func (b *Bench) Publish(t testing.TB, version string) {
	t.Helper()
	for n := range 3 {
		for _, name := range []string{"tool", "libtool"} {
			b.Set("/debian/"+archivetest.Package{Name: name, Version: fmt.Sprint(n)}.Filename(), nil)
		}
	}
	tool := Deb(t, "tool", version, File{Path: "usr/bin/tool", Mode: 0o4755, Content: "tool " + version},
		File{Path: "usr/share/man/man1/tool.1", Content: "manual"}, File{Path: "usr/share/doc/tool/copyright", Content: "free"})
	lib := Deb(t, "libtool", version, File{Path: "lib/libtool.so.1", Content: "library"}, File{Path: "usr/lib/libtool.so", Link: "libtool.so.1"},
		File{Path: "etc/passwd", Content: "of the package"})
	b.Put(t, archivetest.Suite{Name: "trixie", Date: Date, Packages: []archivetest.Package{
		{Name: "linux-image-6.1.0-test", Version: "1", Content: Kernel(t)},
		{Name: "tool", Version: version, Fields: "Depends: libtool\n", Content: tool},
		{Name: "libtool", Version: version, Content: lib},
		{Name: "shim-signed", Version: "1.44~1+deb12u1+15.8-1~deb12u1", Content: Deb(t, "shim-signed", "1.44~1+deb12u1+15.8-1~deb12u1", File{Path: "usr/lib/shim/x", Content: "old"})},
		{Name: "thief", Version: "1", Content: Deb(t, "thief", "1", File{Path: "usr/bin/tool", Content: "of another package"})},
		{Name: "firmware-leaf", Version: "1", Content: Firmware(t)},
	}}, b.key)
	b.Put(t, archivetest.Suite{Name: "bookworm", Date: Date, Packages: []archivetest.Package{
		{Name: "linux-image-" + OldRelease, Version: "1", Content: KernelOf(t, OldRelease)},
		{Name: "tool", Version: "99", Content: Deb(t, "tool", "99", File{Path: "usr/bin/tool", Content: "of another suite"})},
	}}, b.key)
}

// WriteSource makes a source tree: the real go.mod and go.sum, one command of one package.
func WriteSource(t testing.TB, dir string) {
	t.Helper()
	root, err := bb.FindModule(".")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"cmd/hello/main.go": "package main\n\nimport \"picolab/greet\"\n\nfunc main() { greet.Say() }\n",
		"greet/greet.go":    "package greet\n\nfunc Say() { println(\"hello\") }\n",
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(data)
	}
	Write(t, dir, files)
}

// Write makes files below dir.
func Write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
