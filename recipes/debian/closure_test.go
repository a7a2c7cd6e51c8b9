package debian

import (
	"fmt"
	"strings"
	"testing"

	"picolab/recipes/debian/archivetest"
)

// indexOf makes an index from lines "suite name version field: value; field: value".
func indexOf(t testing.TB, lines ...string) *Index {
	t.Helper()
	ix := NewIndex("amd64")
	bySuite := map[string][]archivetest.Package{}
	var order []string
	for _, line := range lines {
		head, fields, _ := strings.Cut(line, " | ")
		f := strings.Fields(head)
		p := archivetest.Package{Name: f[1], Version: f[2]}
		for _, field := range strings.Split(fields, ";") {
			if field = strings.TrimSpace(field); field != "" {
				p.Fields += field + "\n"
			}
		}
		if bySuite[f[0]] == nil {
			order = append(order, f[0])
		}
		bySuite[f[0]] = append(bySuite[f[0]], p)
	}
	for _, suite := range order {
		packages, err := ParsePackages([]byte(archivetest.Suite{Packages: bySuite[suite]}.Index()), "amd64")
		if err != nil {
			t.Fatal(err)
		}
		if err := ix.Add(suite, packages); err != nil {
			t.Fatal(err)
		}
	}
	return ix
}

var closureCases = []struct {
	name    string
	index   []string
	roots   string
	exclude string
	keep    string // "name version"
	want    string // "name=version ..." or "error: text"
}{
	{"chain", []string{"mm aa 1 | Depends: bb", "mm bb 1 | Depends: cc", "mm cc 1", "mm dd 1"}, "aa", "", "", "aa=1 bb=1 cc=1"},
	{"cycle", []string{"mm aa 1 | Depends: bb", "mm bb 1 | Depends: aa"}, "aa", "", "", "aa=1 bb=1"},
	{"pre-depends", []string{"mm aa 1 | Pre-Depends: bb", "mm bb 1"}, "aa", "", "", "aa=1 bb=1"},
	{"recommends-not-followed", []string{"mm aa 1 | Recommends: bb", "mm bb 1"}, "aa", "", "", "aa=1"},
	{"first-alternative", []string{"mm aa 1 | Depends: bb | cc", "mm bb 1", "mm cc 1"}, "aa", "", "", "aa=1 bb=1"},
	{"alternative-that-exists", []string{"mm aa 1 | Depends: bb | cc", "mm cc 1"}, "aa", "", "", "aa=1 cc=1"},
	{"alternative-already-chosen", []string{"mm aa 1 | Depends: bb | cc", "mm bb 1", "mm cc 1"}, "aa cc", "", "", "aa=1 cc=1"},
	{"newest-of-suites", []string{"main aa 1", "updates aa 2", "security aa 3"}, "aa", "", "", "aa=3"},
	{"same-version-first-suite", []string{"main aa 1", "updates aa 1"}, "aa", "", "", "aa=1"},
	{"version-needed", []string{"mm aa 1 | Depends: bb (<< 2)", "mm bb 1", "uu bb 2"}, "aa", "", "", "aa=1 bb=1"},
	{"late-demand", []string{"mm aa 1 | Depends: bb", "mm bb 1", "uu bb 2", "mm zz 1 | Depends: bb (= 1)"}, "aa zz", "", "", "aa=1 bb=1 zz=1"},
	{"late-demand-deep", []string{"mm aa 1 | Depends: bb, cc", "mm bb 1", "uu bb 2", "mm cc 1 | Depends: dd", "mm dd 1 | Depends: bb (<= 1)"}, "aa", "", "", "aa=1 bb=1 cc=1 dd=1"},
	{"kept", []string{"mm aa 1", "uu aa 2"}, "aa", "", "aa 1", "aa=1"},
	{"kept-but-needed-newer", []string{"mm aa 1 | Depends: bb (>= 2)", "mm bb 1", "uu bb 2"}, "aa", "", "bb 1", "aa=1 bb=2"},
	{"virtual", []string{"mm aa 1 | Depends: vv", "mm qq 1 | Provides: vv", "mm pp 1 | Provides: vv"}, "aa", "", "", "aa=1 pp=1"},
	{"virtual-by-priority", []string{"mm aa 1 | Depends: vv", "mm pp 1 | Provides: vv; Priority: optional", "mm qq 1 | Provides: vv; Priority: important"}, "aa", "", "", "aa=1 qq=1"},
	{"virtual-chosen", []string{"mm aa 1 | Depends: vv", "mm pp 1 | Provides: vv", "mm qq 1 | Provides: vv"}, "aa qq", "", "", "aa=1 qq=1"},
	{"virtual-versioned", []string{"mm aa 1 | Depends: vv (>= 2)", "mm pp 1 | Provides: vv", "mm qq 1 | Provides: vv (= 2)"}, "aa", "", "", "aa=1 qq=1"},
	{"virtual-version-low", []string{"mm aa 1 | Depends: vv (>= 3)", "mm qq 1 | Provides: vv (= 2)"}, "aa", "", "", "error: aa 1 depends on vv (>= 3)"},
	{"any-qualifier", []string{"mm aa 1 | Depends: bb:any (>= 1)", "mm bb 1"}, "aa", "", "", "aa=1 bb=1"},
	{"foreign-qualifier", []string{"mm aa 1 | Depends: bb:arm64", "mm bb 1"}, "aa", "", "", "error: bb:arm64"},
	{"exclude", []string{"mm aa 1 | Depends: bb, cc", "mm bb 1 | Depends: dd", "mm cc 1", "mm dd 1"}, "aa", "bb", "", "aa=1 cc=1"},
	{"exclude-alternative", []string{"mm aa 1 | Depends: bb | cc", "mm bb 1", "mm cc 1"}, "aa", "bb", "", "aa=1"},
	{"exclude-provider", []string{"mm aa 1 | Depends: vv", "mm pp 1 | Provides: vv", "mm qq 1 | Provides: vv"}, "aa", "pp", "", "aa=1"},
	{"missing-root", []string{"mm aa 1"}, "bb", "", "", "error: package bb"},
	{"virtual-root", []string{"mm pp 1 | Provides: vv"}, "vv", "", "", "error: vv is virtual; name one of: pp"},
	{"missing-dependency", []string{"mm aa 1 | Depends: bb", "mm bb 1 | Depends: cc"}, "aa", "", "", "error: bb 1 depends on cc, which no suite can satisfy (bb <- aa <- the recipe)"},
	{"contradiction", []string{"mm aa 1 | Depends: bb (= 1), cc", "mm bb 1", "uu bb 2", "mm cc 1 | Depends: bb (= 2)"}, "aa", "", "", "error: depends on bb"},
	{"conflicts", []string{"mm aa 1 | Depends: bb; Conflicts: bb (<< 2)", "mm bb 1"}, "aa", "", "", "error: aa 1 conflicts with bb 1"},
	{"no-conflict-newer", []string{"mm aa 1 | Depends: bb; Conflicts: bb (<< 1)", "mm bb 1"}, "aa", "", "", "aa=1 bb=1"},
	{"breaks", []string{"mm aa 1 | Breaks: bb", "mm bb 1"}, "aa bb", "", "", "error: aa 1 breaks bb 1"},
	{"conflicts-virtual", []string{"mm aa 1 | Conflicts: vv", "mm bb 1 | Provides: vv"}, "aa bb", "", "", "error: aa 1 conflicts with vv, which bb provides"},
	{"conflicts-with-own-virtual", []string{"mm aa 1 | Conflicts: vv; Provides: vv"}, "aa", "", "", "aa=1"},
	{"trailing-comma", []string{"mm aa 1 | Depends: bb,", "mm bb 1"}, "aa", "", "", "aa=1 bb=1"},
}

func TestClosure(t *testing.T) {
	for _, c := range closureCases {
		t.Run(c.name, func(t *testing.T) {
			keep := func(p *Package) bool { return p.Name+" "+p.Version == c.keep }
			got, err := indexOf(t, c.index...).Closure(Request{Roots: strings.Fields(c.roots), Exclude: strings.Fields(c.exclude), Keep: keep})
			if want, isError := strings.CutPrefix(c.want, "error: "); isError {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Fatalf("error %v, want one with %q (got %v)", err, want, names(got))
				}
				return
			}
			if err != nil || names(got) != c.want {
				t.Errorf("got %s (%v), want %s", names(got), err, c.want)
			}
		})
	}
}

func names(list []*Package) string {
	var out []string
	for _, p := range list {
		out = append(out, p.Name+"="+p.Version)
	}
	return strings.Join(out, " ")
}

// TestClosureOfManyIsStable: the order of the index and of the roots must not show.
func TestClosureOfManyIsStable(t *testing.T) {
	lines := []string{"m aa 1 | Depends: vv, xx | yy", "m pp 1 | Provides: vv", "m qq 1 | Provides: vv", "m xx 1", "m yy 1", "m zz 1 | Depends: yy (>= 1)"}
	var want string
	for i := range lines {
		rotated := append(append([]string{}, lines[i:]...), lines[:i]...)
		got, err := indexOf(t, rotated...).Closure(Request{Roots: []string{"aa", "zz"}})
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = names(got)
		}
		if names(got) != want {
			t.Errorf("rotation %d: %s, want %s", i, names(got), want)
		}
	}
}

func TestKernel(t *testing.T) {
	lines := []string{
		"m linux-image-amd64 6.2 | Depends: linux-image-6.2.0-2-amd64 (= 6.2)", "m linux-image-6.1.0-1-amd64 6.1", "m linux-image-6.2.0-2-amd64 6.2 | Depends: kmod",
		"m linux-image-cloud-amd64 6.2 | Depends: linux-image-6.2.0+deb13-cloud-amd64", "m linux-image-6.2.0+deb13-cloud-amd64 6.2",
		"m linux-image-loop 1 | Depends: linux-image-loop", "m linux-image-empty 1 | Depends: libc6",
	}
	for _, c := range []struct{ name, keep, want string }{
		{"linux-image-amd64", "", "linux-image-6.2.0-2-amd64"},
		{"linux-image-amd64", "linux-image-6.1.0-1-amd64", "linux-image-6.1.0-1-amd64"},
		{"linux-image-amd64", "linux-image-6.2.0+deb13-cloud-amd64", "linux-image-6.2.0-2-amd64"},
		{"linux-image-cloud-amd64", "", "linux-image-6.2.0+deb13-cloud-amd64"},
		{"linux-image-6.1.0-1-amd64", "", "linux-image-6.1.0-1-amd64"},
		{"linux-image-loop", "", "depends on itself"},
		{"linux-image-empty", "", "neither a kernel nor depends on one"},
		{"linux-image-none", "", "no suite has the kernel package linux-image-none"},
	} {
		t.Run(c.name+" "+c.keep, func(t *testing.T) {
			p, err := indexOf(t, lines...).Kernel(c.name, func(p *Package) bool { return p.Name == c.keep })
			got := fmt.Sprint(err)
			if err == nil {
				got = p.Name
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestKernelParts(t *testing.T) {
	ix := indexOf(t, "m linux-image-7.1-amd64 7.1 | Depends: dracut | linux-initramfs-tool, linux-base-7.1-amd64 (= 7.1), linux-modules-7.1-amd64 (= 7.1)",
		"m linux-base-7.1-amd64 7.1", "m linux-modules-7.1-amd64 7.1", "m linux-modules-7.1-amd64 7.0",
		"m linux-image-6.1-amd64 6.1 | Depends: kmod, linux-base (>= 4.3)", "m linux-base 4.9",
		"m linux-image-8.0-amd64 8.0 | Depends: linux-modules-8.0-amd64 (= 8.0)", "m linux-modules-8.0-amd64 7.9")
	for name, want := range map[string]string{"linux-image-7.1-amd64": "linux-base-7.1-amd64=7.1 linux-modules-7.1-amd64=7.1", "linux-image-6.1-amd64": ""} {
		parts, err := ix.KernelParts(ix.Candidates(name)[0])
		if got := names(parts); err != nil || strings.Join(strings.Fields(got), " ") != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := ix.KernelParts(ix.Candidates("linux-image-8.0-amd64")[0]); err == nil || !strings.Contains(err.Error(), "which no suite has") {
		t.Errorf("modules of another version: %v", err)
	}
}

func TestParseRelationRefuses(t *testing.T) {
	for _, text := range []string{"aa (", "aa (>= )", "aa (1)", "aa (== 1)", "aa [amd64]", "aa <!nocheck>", "Aa", "aa || bb", "aa (>= 1) xx", "a"} {
		if d, err := ParseRelation(text); err == nil {
			t.Errorf("%q was read as %v", text, d)
		}
	}
}

func FuzzParseRelation(f *testing.F) {
	for _, seed := range []string{"libc6 (>= 2.38), bb | cc:any (<< 1~), dd (= 1:2-3),", "aa (> 1)", "aa|bb", "", ",,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		relations, err := ParseRelation(text)
		if err != nil {
			return
		}
		var parts []string
		for _, d := range relations {
			parts = append(parts, d.String())
		}
		again, err := ParseRelation(strings.Join(parts, ", "))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(relations) {
			t.Errorf("%q: read %v, then %v (%v)", text, relations, again, err)
		}
	})
}
