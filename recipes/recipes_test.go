package recipes

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// minimal is a valid recipe that cases spoil.
const minimal = `name: mini
kind: host
architecture: amd64
suites:
  - name: trixie
    components: [main]
packages:
  - bash
`

var faults = []struct{ name, text, want string }{
	// shape
	{"typo", "packges: [a]\n", `x.yaml:1:1: unknown field "packges", did you mean "packages"?`},
	{"typo-inside", minimal + "kernel:\n  modles: [x]\n", `x.yaml:10:3: unknown field "modles", did you mean "modules"?`},
	{"typo-in-list", minimal + "files:\n  - pth: /x\n", `x.yaml:10:5: unknown field "pth", did you mean "path"?`},
	{"nothing-near", "zzzzzz: 1\n", `x.yaml:1:1: unknown field "zzzzzz"`},
	{"list-for-text", "name: [a]\n", "x.yaml:1:7: wrong kind of value, expected one text value"},
	{"text-for-list", "packages: bash\n", "x.yaml:1:11: "},
	{"text-for-mapping", "kernel: linux\n", "x.yaml:1:9: "},
	{"repeated-key", "name: a\nname: b\n", "x.yaml:2:1: "},
	{"anchor", "name: &a b\n", "x.yaml:1:7: anchors, aliases"},
	{"alias", "name: *a\n", "x.yaml:1:7: "},
	{"merge-key", "<<: {name: a}\n", "x.yaml:1:1: anchors, aliases"},
	{"tag", "name: !!binary aGk=\n", "x.yaml:1:7: "},
	{"two-documents", "name: a\n---\nname: b\n", "x.yaml:3:1: a second YAML document"},
	{"not-a-mapping", "- a\n", "x.yaml:1:1: a recipe is a mapping"},
	{"broken-flow", "name: {\n", "x.yaml:1:7: "},
	{"tab", "kernel:\n\tpackage: x\n", "x.yaml:2:"},
	{"control-character", "name: a\x07\n", "x.yaml:1:8: control character"},
	{"not-utf-8", "name: \xff\n", "x.yaml:1:7: control character or text that is not UTF-8"},
	// head
	{"no-name", strings.Replace(minimal, "name: mini\n", "", 1), "x.yaml: the recipe has no name"},
	{"empty", "", "x.yaml: the recipe has no name"},
	{"odd-name", strings.Replace(minimal, "mini", "../mini", 1), `x.yaml:1:7: name "../mini"`},
	{"odd-kind", strings.Replace(minimal, "host", "router", 1), `x.yaml:2:7: kind "router": it is guest or host`},
	{"odd-architecture", strings.Replace(minimal, "amd64", "arm64", 1), `x.yaml:3:15: architecture "arm64": only amd64`},
	{"odd-mirror", minimal + "mirror: ftp://x/debian\n", "x.yaml:9:9: mirror"},
	{"mirror-with-password", minimal + "mirror: http://a:b@x/debian\n", "x.yaml:9:9: mirror"},
	// suites
	{"no-suites", "name: a\nkind: host\narchitecture: amd64\n", "x.yaml: the recipe has no suites"},
	{"odd-suite", strings.Replace(minimal, "trixie", "../trixie", 1), "x.yaml:5:11: suite name"},
	{"suite-twice", minimal[:strings.Index(minimal, "packages")] + "  - {name: trixie, components: [contrib]}\n", "suite trixie is listed twice"},
	{"no-components", strings.Replace(minimal, "    components: [main]\n", "", 1), "suite trixie has no components"},
	{"odd-component", strings.Replace(minimal, "[main]", "[main/x]", 1), `component "main/x"`},
	{"odd-suite-path", strings.Replace(minimal, "components:", "path: ../x\n    components:", 1), "x.yaml:6:11: suite path"},
	{"odd-suite-mirror", strings.Replace(minimal, "components:", "mirror: x\n    components:", 1), "x.yaml:6:13: mirror"},
	// packages
	{"odd-package", strings.Replace(minimal, "- bash", "- Bash", 1), `x.yaml:8:5: package "Bash": not a valid name`},
	{"package-twice", minimal + "  - bash\n", "x.yaml:9:5: package bash is listed twice"},
	{"excluded-package", minimal + "exclude: [bash]\n", "x.yaml:9:11: package bash is both in packages and in exclude"},
	// kernel
	{"guest-without-kernel", strings.Replace(minimal, "host", "guest", 1), "a guest needs a kernel"},
	{"modules-without-kernel", minimal + "kernel: {modules: [e1000]}\n", "kernel modules without kernel.package"},
	{"odd-module", minimal + "kernel: {package: linux, modules: [../x]}\n", `module "../x"`},
	{"module-climbs", minimal + "kernel: {package: linux, modules: [a/../../x]}\n", `module "a/../../x"`},
	{"odd-glob", minimal + "kernel: {package: linux, modules: ['net/[']}\n", `module "net/["`},
	{"odd-load", minimal + "kernel: {package: linux, load: ['net/*']}\n", `module "net/*"`},
	{"odd-argument", minimal + "kernel: {package: linux, command_line: ['a b']}\n", `kernel argument "a b"`},
	// commands
	{"odd-command", minimal + "commands: [/bin/ls]\n", "x.yaml:9:12: command \"/bin/ls\": not a Go import path"},
	{"commands-of-one-name", minimal + "commands: [a.example/ls, b.example/ls]\n", "have the same name ls"},
	{"odd-init", minimal + "init: nothing\n", "x.yaml:9:7: init \"nothing\" is not"},
	// files
	{"relative-file", minimal + "files: [{path: etc/x}]\n", "the path must be absolute"},
	{"unclean-file", minimal + "files: [{path: /etc/../x}]\n", "the path must be absolute"},
	{"root-file", minimal + "files: [{path: /}]\n", "the path must be absolute"},
	{"file-twice", minimal + "files: [{path: /x}, {path: /x}]\n", "file /x is listed twice"},
	{"file-below-file", minimal + "files: [{path: /x}, {path: /x/y}]\n", "file /x/y is below /x"},
	{"odd-mode", minimal + "files: [{path: /x, mode: '0999'}]\n", `mode "0999": use octal`},
	{"set-uid-mode", minimal + "files: [{path: /x, mode: '4755'}]\n", `mode "4755"`},
	{"link-with-content", minimal + "files: [{path: /x, link: y, content: z}]\n", "a link has neither content nor mode"},
	{"link-with-source", minimal + "files: [{path: /x, link: y, source: z}]\n", "a link has neither content nor mode nor source"},
	{"content-and-source", minimal + "files: [{path: /x, content: y, source: z}]\n", "both content and source"},
	{"sum-without-source", minimal + "files: [{path: /x, sha256: y}]\n", "sha256 goes with source"},
	{"odd-sum", minimal + "files: [{path: /x, source: y, sha256: AB}]\n", `x.yaml:9:9: sha256 "AB": not 64 hex digits`},
	// kernels and modules of this machine
	{"two-kernels", minimal + "kernel: {package: linux, image: {path: x}}\n", "x.yaml:9:33: both kernel.package and kernel.image"},
	{"tree-alone", minimal + "kernel: {package: linux, tree: {path: x}}\n", "x.yaml:9:32: kernel.tree goes with kernel.image"},
	{"modules-without-tree", minimal + "kernel: {image: {path: x}, modules: [e1000]}\n", "modules need kernel.tree"},
	{"image-without-path", minimal + "kernel: {image: {sha256: x}}\n", "kernel.image has no path"},
	{"packed-module", minimal + "kernel: {package: linux, extra: [{path: a.ko.xz}]}\n", `x.yaml:9:34: module "a.ko.xz": the path must end in .ko or .deb`},
	{"module-twice", minimal + "kernel: {package: linux, extra: [{path: a.ko}, {path: a.ko}]}\n", "module a.ko is listed twice"},
	{"module-field", minimal + "kernel: {package: linux, extra: [{pth: a.ko}]}\n", `unknown field "pth", did you mean "path"?`},
	{"odd-firmware", minimal + "kernel: {package: linux, firmware: [../x]}\n", `package "../x"`},
	{"firmware-without-kernel", minimal + "kernel: {firmware: [firmware-realtek]}\n", "without kernel.package"},
	{"odd-only", strings.Replace(minimal, "components: [main]", "components: [main]\n    only: [Linux]", 1), `package pattern "Linux"`},
	// menu, limits
	{"empty-title", minimal + "menu: [{title: ''}]\n", "menu title"},
	{"title-with-quote", minimal + "menu: [{title: \"a'b\"}]\n", "menu title"},
	{"title-twice", minimal + "menu: [{title: a}, {title: a}]\n", "is listed twice; rename one"},
	{"odd-size", minimal + "limits: {boot: lots}\n", `x.yaml:9:16: size "lots" is not`},
	{"negative-size", minimal + "limits: {root: -1}\n", `x.yaml:9:16: size "-1" is not`},
}

func TestFaults(t *testing.T) {
	for _, c := range faults {
		t.Run(c.name, func(t *testing.T) {
			r, err := Parse("x.yaml", []byte(c.text))
			if err == nil {
				err = r.Validate()
			}
			var fault *Error
			if !errors.As(err, &fault) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			if fault.Line > 0 && !strings.Contains(err.Error(), " | ") {
				t.Errorf("no excerpt in %q", err)
			}
		})
	}
}

// TestFaultLooks pins one message as a person sees it.
func TestFaultLooks(t *testing.T) {
	_, err := Parse("lab.yaml", []byte("name: lab\npackges: [qemu]\n"))
	want := "lab.yaml:2:1: unknown field \"packges\", did you mean \"packages\"?\n    2 | packges: [qemu]\n      | ^"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestExtends(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "base.yaml"), minimal+"description: base\nfiles: [{path: /a, content: base}, {path: /b}]\nlimits: {boot: 1 MB, root: 2 MB}\n")
	child := write(t, filepath.Join(dir, "child.yaml"), "name: child\nextends: ./base.yaml\npackages: [zsh, bash]\nfiles: [{path: /c}, {path: /a, content: child}]\nlimits: {boot: 3 MB}\nsuites: [{name: trixie-updates, components: [main]}]\n")
	r, err := Open(child)
	if err != nil {
		t.Fatal(err)
	}
	if r.Name != "child" || r.Description != "base" || r.Limits != (Limits{Boot: "3 MB", Root: "2 MB"}) {
		t.Errorf("scalars: %+v", r)
	}
	if !slices.Equal(r.Packages, []string{"bash", "zsh"}) {
		t.Errorf("packages %v", r.Packages)
	}
	if len(r.Suites) != 2 || r.Suites[1].Name != "trixie-updates" {
		t.Errorf("suites %v", r.Suites)
	}
	if len(r.Files) != 3 || r.Files[0] != (File{Path: "/a", Content: "child"}) || r.Files[2].Path != "/c" {
		t.Errorf("files %v", r.Files)
	}
}

func TestExtendsEmbedded(t *testing.T) {
	child := write(t, filepath.Join(t.TempDir(), "mine.yaml"), "name: mine\nextends: guest\nkernel: {modules: [r8169]}\n")
	r, err := Open(child)
	if err != nil {
		t.Fatal(err)
	}
	base, err := Open("guest")
	if err != nil {
		t.Fatal(err)
	}
	if r.Kind != "guest" || !slices.Equal(r.Kernel.Modules, append(slices.Clone(base.Kernel.Modules), "r8169")) || r.ResolutionDigest() != base.ResolutionDigest() {
		t.Errorf("got %+v", r)
	}
}

// TestExtendsFaults: cycles are found, and faults point into the file that has them.
func TestExtendsFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"self", map[string]string{"a.yaml": "extends: ./a.yaml\n"}, "extends itself"},
		{"cycle", map[string]string{"a.yaml": "extends: ./b.yaml\n", "b.yaml": "extends: ./c.yaml\n", "c.yaml": "extends: ./../x/a.yaml\n"}, "extends itself"},
		{"absent", map[string]string{"a.yaml": "name: a\nextends: ./b.yaml\n"}, "a.yaml:2:10: open recipe"},
		{"unknown-name", map[string]string{"a.yaml": "extends: gast\n"}, "there are: guest, host"},
		{"fault-in-base", map[string]string{"a.yaml": "extends: ./b.yaml\n", "b.yaml": minimal + "files: [{path: x}]\n"}, "b.yaml:9:9: file"},
		{"fault-in-child", map[string]string{"a.yaml": "extends: ./b.yaml\npackages: [xx, Yy]\n", "b.yaml": minimal}, "a.yaml:2:16: package"},
		{"twice-in-child", map[string]string{"a.yaml": "extends: ./b.yaml\npackages: [zsh, zsh]\n", "b.yaml": minimal}, "a.yaml:2:17: package zsh is listed twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "x")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for name, text := range c.files {
				write(t, filepath.Join(dir, name), text)
			}
			if _, err := Open(filepath.Join(dir, "a.yaml")); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestEmbedded(t *testing.T) {
	if names := Names(); !slices.Equal(names, []string{"guest", "host"}) {
		t.Fatalf("names %v", names)
	}
	for _, name := range Names() {
		r, err := Open(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if r.Name != name || r.Kind != name || r.Mirror != "" || r.Init != "guestagent" {
			t.Errorf("%s: %+v", name, r)
		}
		if _, path, err := LockOf(name); err != nil || path != name+".lock" {
			t.Errorf("lock of %s: %s, %v", name, path, err)
		}
		for _, load := range r.Kernel.Load {
			if !slices.Contains(r.Kernel.Modules, load) {
				t.Errorf("%s loads %s, which is not among its modules", name, load)
			}
		}
	}
	if _, err := Open("gast"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an unknown name: %v", err)
	}
}

func TestLockOf(t *testing.T) {
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "lab.yaml"), minimal)
	_, path, err := LockOf(file)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "labimage lock "+file) || path != filepath.Join(dir, "lab.lock") {
		t.Errorf("without a lock: %s, %v", path, err)
	}
	write(t, filepath.Join(dir, "lab.lock"), "x")
	if data, _, err := LockOf(file); err != nil || string(data) != "x" {
		t.Errorf("%q, %v", data, err)
	}
}

// TestResolutionDigest: only what decides the packages counts.
func TestResolutionDigest(t *testing.T) {
	base := func() *Recipe {
		return &Recipe{Architecture: "amd64", Suites: []Suite{{Name: "trixie", Components: []string{"main"}}}, Packages: []string{"a", "b"}, Kernel: Kernel{Package: "k"}}
	}
	same := []func(*Recipe){
		func(r *Recipe) { r.Name, r.Mirror, r.Init = "x", "http://x/", "y" }, func(r *Recipe) { r.Commands = []string{"x"} },
		func(r *Recipe) { r.Kernel.Modules = []string{"x"} }, func(r *Recipe) { r.Suites[0].Mirror = "http://x/" }, func(r *Recipe) { r.Exclude = []string{} },
	}
	differs := []func(*Recipe){
		func(r *Recipe) { r.Architecture = "x" }, func(r *Recipe) { r.Suites[0].Name = "x" }, func(r *Recipe) { r.Suites[0].Path = "x" },
		func(r *Recipe) { r.Suites[0].Components = nil }, func(r *Recipe) { r.Packages = []string{"ab"} }, func(r *Recipe) { r.Exclude = []string{"x"} },
		func(r *Recipe) { r.Kernel.Package = "x" },
	}
	want := base().ResolutionDigest()
	for i, change := range same {
		r := base()
		if change(r); r.ResolutionDigest() != want {
			t.Errorf("change %d that needs no new lock changed the digest", i)
		}
	}
	for i, change := range differs {
		r := base()
		if change(r); r.ResolutionDigest() == want {
			t.Errorf("change %d did not change the digest", i)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[Size]int64{"": 0, "20 MB": 20e6, "20MiB": 20 << 20, "1 kB": 1000, "7": 7, "7 B": 7, "2 GiB": 2 << 30, "3 gb": 3e9} {
		if got, err := text.Bytes(); err != nil || got != want {
			t.Errorf("%q is %d (%v), want %d", text, got, err, want)
		}
	}
	for _, text := range []Size{"x", "-1", "1.5 MB", "0", "MB", "99999999999 GB", "1 TB", "1 M", "0x10"} {
		if n, err := text.Bytes(); err == nil {
			t.Errorf("%q was read as %d", text, n)
		}
	}
}

func TestPerm(t *testing.T) {
	for mode, want := range map[string]uint32{"": 0o644, "0755": 0o755, "600": 0o600, "0o700": 0o700} {
		if got, err := (File{Mode: mode}).Perm(); err != nil || got != want {
			t.Errorf("%q is %o (%v), want %o", mode, got, err, want)
		}
	}
}

// FuzzRecipe: no text makes Parse or Validate panic, and what is valid has nothing in it that could leave a folder.
func FuzzRecipe(f *testing.F) {
	f.Add([]byte(minimal))
	for _, name := range Names() {
		data, err := embedded.ReadFile(name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, c := range faults {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Parse("x.yaml", text)
		if err != nil {
			var fault *Error
			if !errors.As(err, &fault) {
				t.Errorf("an error without a place: %v", err)
			}
			return
		}
		if r.Validate() != nil {
			return
		}
		for _, file := range r.Files {
			if filepath.Clean(file.Path) != file.Path || !filepath.IsAbs(file.Path) {
				t.Errorf("file %q", file.Path)
			}
		}
		if strings.ContainsAny(r.Name, "/\x00") || strings.HasPrefix(r.Name, ".") {
			t.Errorf("name %q", r.Name)
		}
	})
}
