package picolab_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "picolab"

// layers says who may import whom, inside this module. The first line whose
// pattern a package matches holds; "x/..." is everything below x, not x. A
// package no line matches may not exist: a new part of the program is placed
// here first.
var layers = []struct {
	pkg string
	may string // patterns, separated by blanks
}{
	{"recipes", "recipes/..."},
	{"recipes/...", "recipes recipes/..."},

	{"initramfs", "initramfs/... recipes recipes/..."},
	{"initramfs/...", "initramfs/... recipes recipes/..."},

	{"images/manifest", ""}, // all that hostctl reads of the builder
	{"images", "images/internal/cli"},
	{"images/...", "images/... initramfs initramfs/... recipes recipes/..."},

	{"guestagent/wire", ""},
	{"guestagent/transport", ""},
	{"guestagent/client", "guestagent/wire"},
	{"guestagent/load/...", "guestagent/load/..."},
	{"guestagent", "guestagent/..."},
	{"guestagent/...", "guestagent guestagent/..."},

	{"hostctl/report", ""},
	{"hostctl/report/...", "hostctl/report hostctl/report/..."},
	{"hostctl/vale", ""},
	{"hostctl/vale/...", "hostctl/vale hostctl/vale/..."},
	{"hostctl/vhostuser", "hostctl/vhostuser/..."},
	{"hostctl/vhostuser/pktgenport", "guestagent/load/pktgen hostctl/vhostuser/virtiouser"}, // pkt-gen's port "vhost:"
	{"hostctl/vhostuser/...", "hostctl/vhostuser hostctl/vhostuser/..."},
	// lab hands out monitors and console findings in the types of qemu and oops.
	{"hostctl/catalogue", agent + "guestagent/load/pcapng hostctl/catalogue/... hostctl/lab hostctl/report hostctl/internal/qemu hostctl/internal/oops"},
	{"hostctl/catalogue/...", agent + "guestagent/load/pcapng hostctl/catalogue hostctl/catalogue/... hostctl/lab hostctl/report"},
	{"hostctl/lab", agent + "guestagent/transport guestagent/load/pcapng hostctl/internal/... hostctl/vale hostctl/vale/... hostctl/vhostuser hostctl/vhostuser/... images/manifest"},
	{"hostctl/internal/cli", upper},
	{"hostctl/internal/switchboard", "guestagent/load/memif guestagent/load/pktgen guestagent/load/pktgen/xdp hostctl/internal/netdev hostctl/vale hostctl/vale/... hostctl/vhostuser hostctl/vhostuser/..."},
	{"hostctl/internal/labs", upper},
	{"hostctl/internal/runs", upper},
	{"hostctl/internal/...", "hostctl/internal/... images/manifest"},
	// launch is the second facade: the appliance's commands for single machines.
	{"hostctl/launch", agent + "guestagent/load/getopt guestagent/transport hostctl/internal/... hostctl/vale/ctl hostctl/vhostuser/vvsock images/manifest"},
	{"hostctl", "hostctl/internal/cli hostctl/internal/sandbox"},

	{"cmd/guestagent", "guestagent/... hostctl/vhostuser/pktgenport"}, // registers it
	{"cmd/forwarder", "guestagent/... hostctl/vhostuser/pktgenport"},
	{"cmd/pkt-gen", "guestagent/... hostctl/vhostuser/pktgenport"},
	{"cmd/vale-ctl", "hostctl/vale/ctl"},
	{"cmd/...", "images hostctl hostctl/launch guestagent/..."},
}

const (
	agent = "guestagent/client guestagent/wire "
	// upper is for the parts of hostctl above lab.
	upper = agent + "hostctl/internal/... hostctl/lab hostctl/catalogue hostctl/catalogue/... hostctl/report hostctl/report/... images/manifest"
)

// aboveLab are the parts of hostctl/internal that use lab; lab, and what is below
// it, must not use them.
var aboveLab = []string{"hostctl/internal/cli", "hostctl/internal/labs", "hostctl/internal/runs"}

// doors names, for each module we depend on, the packages that may import it.
// Tests may import what they like.
var doors = map[string]string{
	"github.com/ProtonMail/go-crypto":   "recipes/debian recipes/debian/...",
	"github.com/containerd/log":         "guestagent guestagent/client",
	"github.com/containerd/ttrpc":       "guestagent guestagent/client guestagent/wire",
	"github.com/digitalocean/go-qemu":   "hostctl/internal/qemu",
	"github.com/diskfs/go-diskfs":       "images/disk",
	"github.com/goccy/go-yaml":          "recipes hostctl/internal/cli guestagent/site",
	"github.com/insomniacslk/dhcp":      "guestagent/dhcp hostctl/internal/netboot",
	"github.com/klauspost/compress":     "initramfs/cpio initramfs/internal/decompress images/assemble images/bundle hostctl/internal/inflate",
	"github.com/mdlayher/vsock":         "guestagent/transport",
	"github.com/mikelolasagasti/xz":     "initramfs/internal/decompress recipes/debian", // recipes may not import initramfs
	"github.com/safchain/ethtool":       "guestagent/verbs",
	"github.com/schollz/progressbar/v3": "hostctl/internal/cli recipes/fetch",
	"github.com/sirupsen/logrus":        "guestagent", // ttrpc's logger
	"github.com/spf13/cobra":            "images/internal/cli hostctl/internal/cli",
	"github.com/u-root/gobusybox":       "initramfs/bb",
	"github.com/u-root/mkuimage":        "initramfs/bb",
	"github.com/u-root/u-root":          "initramfs/bb",
	"github.com/ulikunitz/xz":           "recipes/debian/archivetest", // writes what the tests read
	"github.com/vishvananda/netlink":    "guestagent/verbs hostctl/internal/netdev",
	"go.uber.org/goleak":                "guestagent/internal/leak hostctl/internal/leak hostctl/vhostuser/internal/leak initramfs/internal/leak",
	"golang.org/x/mod":                  "initramfs/bb recipes",
	"golang.org/x/perf":                 "hostctl/report/compare",
	"golang.org/x/net":                  "guestagent/load/capture guestagent/load/pcapfilter",
	"golang.org/x/sync":                 "...",
	"golang.org/x/sys":                  "...",
	"golang.org/x/term":                 "hostctl/internal/cli images/internal/cli recipes/fetch",
	"google.golang.org/grpc":            "guestagent/wire",
	"google.golang.org/protobuf":        "guestagent/wire guestagent/client",
	"gvisor.dev/gvisor":                 "hostctl/vale/hostip",
}

// callers names the packages that may call a function which others must not.
var callers = map[string]string{
	// Exit codes are decided in main; a first process of a namespace or a
	// guest, and a TestMain, end themselves.
	"os.Exit":      "cmd/... guestagent/load/getopt hostctl/internal/sandbox guestagent/boot hostctl/vhostuser/internal/leak initramfs/internal/leak",
	"syscall.Exit": "",
	"unix.Exit":    "",
	"log.Fatal":    "",
	"log.Fatalf":   "",
	"log.Fatalln":  "",
	// Child processes: one place on the lab's side, one in the agent, and the
	// builder's runs of the go command, of itself, and of grub-mkimage. The peer of
	// tests is run by tests.
	"exec.Command":        "guestagent/internal/netns guestagent/load/testpmd hostctl/internal/proc initramfs/bb images/internal/cli",
	"exec.CommandContext": "hostctl/internal/proc initramfs/bb initramfs/squash images/disk images/internal/cli",
	"os.StartProcess":     "",
	"syscall.ForkExec":    "guestagent/internal/child",
}

// pkg is what the rules need of a package.
type pkg struct {
	Name, ImportPath, Dir              string
	Imports                            []string
	GoFiles, TestGoFiles, XTestGoFiles []string
}

// rel is the import path inside the module.
func (p pkg) rel() string { return inside(p.ImportPath) }

func inside(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
}

// matches reports whether one of the patterns takes p.
func matches(p, patterns string) bool {
	for pattern := range strings.FieldsSeq(patterns) {
		below, tree := strings.CutSuffix(pattern, "...")
		if pattern == p || (tree && strings.HasPrefix(p, below)) {
			return true
		}
	}
	return false
}

// violations applies the rules about imports.
func violations(packages []pkg) []string {
	var out []string
	for _, p := range packages {
		for _, imported := range p.Imports {
			if why := forbidden(p.rel(), imported); why != "" {
				out = append(out, fmt.Sprintf("%s imports %s: %s", p.rel(), imported, why))
			}
		}
		if (p.Name == "main") != matches(p.rel(), "cmd/...") {
			out = append(out, fmt.Sprintf("%s is package %s: mains, and only mains, are in cmd", p.rel(), p.Name))
		}
	}
	return out
}

// forbidden says why p may not import a package, "" when it may.
func forbidden(p, imported string) string {
	first, _, _ := strings.Cut(imported, "/")
	switch {
	case first == module:
		return forbiddenInside(p, inside(imported))
	case strings.Contains(first, "."):
		return forbiddenOutside(p, imported)
	}
	return ""
}

func forbiddenInside(p, imported string) string {
	for _, l := range layers {
		if !matches(p, l.pkg) {
			continue
		}
		low := matches(p, "hostctl/internal/... hostctl/lab") && !slices.Contains(aboveLab, p)
		if !matches(imported, l.may) || (low && slices.Contains(aboveLab, imported)) {
			return "not allowed by the layers in imports_test.go"
		}
		return ""
	}
	return "the importer has no place in the layers of imports_test.go"
}

func forbiddenOutside(p, imported string) string {
	for dir := imported; dir != "."; dir = path.Dir(dir) {
		if may, ok := doors[dir]; ok {
			if !matches(p, may) {
				return fmt.Sprintf("the doors of %s are %q", dir, may)
			}
			return ""
		}
	}
	return "has no door in imports_test.go"
}

// goList asks the go command for the packages of the module.
func goList(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=Name,ImportPath,Dir,Imports,GoFiles,TestGoFiles,XTestGoFiles", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatal(err)
		}
		if rel := p.rel(); rel != "" && !matches(rel, "build/...") { // build holds outputs
			packages = append(packages, p)
		}
	}
}

func TestImports(t *testing.T) {
	packages := goList(t)
	if len(packages) < 20 {
		t.Fatalf("go list found only %d packages", len(packages))
	}
	for _, v := range violations(packages) {
		t.Error(v)
	}
}

// TestImportRulesCanFail gives the rules packages that break each of them.
func TestImportRulesCanFail(t *testing.T) {
	for name, p := range map[string]pkg{
		"builder imports hostctl":        {ImportPath: "initramfs/bb", Imports: []string{"picolab/hostctl/lab"}},
		"builder imports the agent":      {ImportPath: "images/assemble", Imports: []string{"picolab/guestagent/wire"}},
		"initramfs imports images":       {ImportPath: "initramfs/cpio", Imports: []string{"picolab/images/manifest"}},
		"recipes import initramfs":       {ImportPath: "recipes/lock", Imports: []string{"picolab/initramfs/tree"}},
		"manifest is no leaf":            {ImportPath: "images/manifest", Imports: []string{"picolab/initramfs/tree"}},
		"wire is no leaf":                {ImportPath: "guestagent/wire", Imports: []string{"picolab/guestagent/load"}},
		"report is no leaf":              {ImportPath: "hostctl/report", Imports: []string{"picolab/hostctl/lab"}},
		"vale imports ours":              {ImportPath: "hostctl/vale", Imports: []string{"picolab/hostctl/vhostuser"}},
		"vhostuser imports lab":          {ImportPath: "hostctl/vhostuser/virtq", Imports: []string{"picolab/hostctl/lab"}},
		"agent imports hostctl":          {ImportPath: "guestagent/verbs", Imports: []string{"picolab/hostctl/internal/netdev"}},
		"lab imports the catalogue":      {ImportPath: "hostctl/lab", Imports: []string{"picolab/hostctl/catalogue"}},
		"lab imports the command line":   {ImportPath: "hostctl/lab", Imports: []string{"picolab/hostctl/internal/cli"}},
		"qemu imports lab":               {ImportPath: "hostctl/internal/qemu", Imports: []string{"picolab/hostctl/lab"}},
		"hostctl reads more of images":   {ImportPath: "hostctl/lab", Imports: []string{"picolab/images/assemble"}},
		"suite drives qemu":              {ImportPath: "hostctl/catalogue/vnic", Imports: []string{"picolab/hostctl/internal/qemu"}},
		"catalogue knows the agent":      {ImportPath: "hostctl/catalogue", Imports: []string{"picolab/guestagent/verbs"}},
		"facade imported":                {ImportPath: "hostctl/internal/cli", Imports: []string{"picolab/hostctl"}},
		"facade imported by the builder": {ImportPath: "images/assemble", Imports: []string{"picolab/images"}},
		"command imports internals":      {ImportPath: "cmd/x", Name: "main", Imports: []string{"picolab/initramfs/tree"}},
		"package without a place":        {ImportPath: "misc", Imports: []string{"picolab/recipes"}},
		"second door":                    {ImportPath: "hostctl/lab", Imports: []string{"github.com/vishvananda/netlink"}},
		"second door, sub-package":       {ImportPath: "images/assemble", Imports: []string{"github.com/u-root/u-root/pkg/cpio"}},
		"no door":                        {ImportPath: "hostctl/lab", Imports: []string{"github.com/example/new"}},
		"main outside cmd":               {ImportPath: "hostctl/lab", Name: "main"},
		"no main in cmd":                 {ImportPath: "cmd/x", Name: "x"},
	} {
		p.ImportPath = module + "/" + p.ImportPath
		if len(violations([]pkg{p})) != 1 {
			t.Errorf("%s: found %q", name, violations([]pkg{p}))
		}
	}
	fine := pkg{ImportPath: "picolab/initramfs/deb", Name: "deb", Imports: []string{"io", "picolab/initramfs/tree", "golang.org/x/sys/unix"}}
	if v := violations([]pkg{fine}); len(v) != 0 {
		t.Errorf("a good package: %q", v)
	}
}

// sourceViolations applies the rules about what a file may hold.
func sourceViolations(dir, name string, src []byte) []string {
	f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	bad := func(what string) { out = append(out, fmt.Sprintf("%s: %s", path.Join(dir, name), what)) }
	if imports(f, "unsafe") && !strings.HasSuffix(name, "_unsafe.go") && !strings.HasSuffix(name, ".pb.go") {
		bad("unsafe is only for files named *_unsafe.go")
	}
	if strings.HasSuffix(name, "_test.go") {
		return out
	}
	for _, call := range calls(f) {
		if may, ok := callers[call]; ok && !matches(dir, may) {
			bad("calls " + call + " which is for " + strconv.Quote(may))
		}
	}
	return out
}

func imports(f *ast.File, name string) bool {
	return slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == strconv.Quote(name) })
}

// calls lists the functions of other packages that a file names, "os.Exit".
func calls(f *ast.File) []string {
	found := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := s.X.(*ast.Ident); ok {
				found[id.Name+"."+s.Sel.Name] = true
			}
		}
		return true
	})
	return slices.Sorted(maps.Keys(found))
}

func TestSources(t *testing.T) {
	for _, name := range tracked(t) {
		if path.Ext(name) != ".go" || strings.Contains(name, "testdata/") {
			continue
		}
		for _, v := range sourceViolations(path.Dir(name), path.Base(name), readTracked(t, name)) {
			t.Error(v)
		}
	}
}

// TestSourceRulesCanFail gives the rules files that break each of them.
func TestSourceRulesCanFail(t *testing.T) {
	for _, tc := range []struct {
		dir, name, src string
		bad            bool
	}{
		{"hostctl/lab", "x.go", `package lab; import "unsafe"; var _ unsafe.Pointer`, true},
		{"hostctl/lab", "x_test.go", `package lab; import "unsafe"; var _ unsafe.Pointer`, true},
		{"hostctl/lab", "x_unsafe.go", `package lab; import "unsafe"; var _ unsafe.Pointer`, false},
		{"hostctl/lab", "x.go", `package lab; import "os"; func f() { os.Exit(1) }`, true},
		{"hostctl/lab", "x.go", `package lab; import "os"; var f = os.Exit`, true},
		{"hostctl/lab", "x.go", `package lab; import "log"; func f() { log.Fatalf("x") }`, true},
		{"hostctl/lab", "x.go", `package lab; import "os/exec"; func f() { exec.Command("x") }`, true},
		{"hostctl/lab", "x_test.go", `package lab; import "os"; func f() { os.Exit(1) }`, false},
		{"cmd/x", "main.go", `package main; import "os"; func main() { os.Exit(1) }`, false},
		{"hostctl/lab", "x.go", `package`, true},
	} {
		if got := sourceViolations(tc.dir, tc.name, []byte(tc.src)); (len(got) > 0) != tc.bad {
			t.Errorf("%s/%s %q: found %q", tc.dir, tc.name, tc.src, got)
		}
	}
}
