package initramfs

import (
	"errors"
	"strings"
	"testing"

	"picolab/initramfs/bb"
	"picolab/initramfs/tree"
	"picolab/recipes"
	"picolab/recipes/lock"
)

// box is a busybox that was never compiled.
func box(t *testing.T, commands ...string) *bb.Busybox {
	t.Helper()
	b := &bb.Busybox{Tree: tree.New(), SHA256: strings.Repeat("0", 64), GoVersion: "go1.26.0"}
	err := b.Tree.Put("bbin/bb", tree.Regular(0o755, tree.Bytes([]byte("binary"))))
	for _, c := range commands {
		err = errors.Join(err, b.Tree.Put("bbin/"+c, tree.Symlink("bb")))
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var guest = &recipes.Recipe{Name: "guest", Kind: "guest", Init: "agent", Files: []recipes.File{
	{Path: "/etc/motd", Content: "hi", Mode: "0600"}, {Path: "/etc/link", Link: "motd"}}}

// listing shows a tree, a line an entry.
func listing(t *tree.Tree) string {
	var b strings.Builder
	for path, e := range t.All() {
		b.WriteString(path)
		if e.Link != "" {
			b.WriteString(" -> " + e.Link)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestBase(t *testing.T) {
	l := &Layers{Busybox: box(t, "agent", "gosh")}
	if err := errors.Join(l.addBase(guest, &lock.Lock{}, nil, nil), l.addPayload(guest)); err != nil {
		t.Fatal(err)
	}
	got := listing(l.Base)
	for _, want := range []string{"bin -> bbin\n", "usr/bin -> ../bbin\n", "init -> bbin/agent\n", "dev/console\n", "etc/picolab/image.json\n", "etc/link -> motd\n", "tmp\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("the base lacks %q; it has\n%s", want, got)
		}
	}
	if e, _ := l.Base.Get("etc/motd"); e.Perm() != 0o600 {
		t.Errorf("a recipe's file has mode %o", e.Perm())
	}
	if e, _ := l.Base.Get("tmp"); e.Perm() != 0o1777 {
		t.Errorf("tmp has mode %o", e.Perm())
	}
	if e, _ := l.Payload.Get("bbin/sh"); e.Link != "gosh" {
		t.Error("no shell")
	}
}

// TestBaseIgnoresTheBusybox keeps a change of a command from rewriting more than the last segment.
func TestBaseIgnoresTheBusybox(t *testing.T) {
	a, b := &Layers{Busybox: box(t, "agent")}, &Layers{Busybox: box(t, "agent", "more")}
	b.Busybox.SHA256 = strings.Repeat("1", 64)
	for _, l := range []*Layers{a, b} {
		if err := errors.Join(l.addBase(guest, &lock.Lock{}, nil, nil), l.addPayload(guest)); err != nil {
			t.Fatal(err)
		}
	}
	if a.Base.Digest() != b.Base.Digest() {
		t.Errorf("the base depends on the busybox: %v", tree.Diff(a.Base, b.Base))
	}
	if a.Payload.Digest() == b.Payload.Digest() {
		t.Error("the payload does not depend on the busybox")
	}
}

func TestInitMustBeACommand(t *testing.T) {
	l := &Layers{Busybox: box(t, "other")}
	if err := l.addPayload(guest); err == nil || !strings.Contains(err.Error(), `"agent"`) {
		t.Errorf("error %v", err)
	}
}

// packages is an unpacked userland: usr-merged, with a file the recipe replaces and a directory with a mode of its own.
func packages(t *testing.T) *tree.Tree {
	t.Helper()
	p := tree.New()
	err := errors.Join(
		p.Put("usr/bin/tool", tree.Regular(0o755, tree.Bytes([]byte("tool"))).From("tool")),
		p.Put("etc/motd", tree.Regular(0o644, tree.Bytes([]byte("of a package"))).From("tool")),
		p.Put("tmp", tree.Dir(0o755).From("base-files")),
		p.Put("tmp/inside", tree.Regular(0o644, tree.Bytes(nil)).From("base-files")),
		p.Put("bin", tree.Symlink("/usr/bin").From("base-files")),
	)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRoot(t *testing.T) {
	host := *guest
	host.Kind = "host"
	l := &Layers{Busybox: box(t, "agent", "gosh")}
	if err := errors.Join(l.addPayload(&host), l.addRoot(&host, &lock.Lock{}, &unpacked{root: packages(t), firmware: tree.New()}, nil)); err != nil {
		t.Fatal(err)
	}
	got := listing(l.Root)
	for _, want := range []string{"bin -> usr/bin\n", "lib64 -> usr/lib64\n", "usr/lib64\n", "usr/bin/sh -> ../../bbin/gosh\n", "bbin/agent -> bb\n", "proc\n", "tmp/inside\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("the root lacks %q; it has\n%s", want, got)
		}
	}
	if e, _ := l.Root.Get("etc/motd"); e.Perm() != 0o600 || e.Size() != 2 {
		t.Error("the recipe's file did not replace the package's")
	}
	if e, _ := l.Root.Get("tmp"); e.Perm() != 0o1777 {
		t.Errorf("tmp has mode %o", e.Perm())
	}
}

func TestRootRefusesAnUnmergedUserland(t *testing.T) {
	host := *guest
	host.Kind = "host"
	p := tree.New()
	if err := p.Put("sbin/ldconfig", tree.Regular(0o755, tree.Bytes(nil)).From("libc-bin")); err != nil {
		t.Fatal(err)
	}
	l := &Layers{Busybox: box(t, "agent")}
	err := errors.Join(l.addPayload(&host), l.addRoot(&host, &lock.Lock{}, &unpacked{root: p, firmware: tree.New()}, nil))
	if err == nil || !strings.Contains(err.Error(), "libc-bin") {
		t.Errorf("error %v, want one that names the package", err)
	}
}

func TestKeep(t *testing.T) {
	tests := map[string]bool{
		"usr/bin/tool":                  true,
		"usr/share/doc/tool/copyright":  true,
		"usr/share/doc/tool/changelog":  false,
		"usr/share/man/man1/tool.1.gz":  false,
		"usr/share/locale/de/x.mo":      false,
		"usr/share/qemu/efi-virtio.rom": true,
	}
	for path, want := range tests {
		if keep(path) != want {
			t.Errorf("keep(%s) = %t", path, !want)
		}
	}
}
