package assemble

import (
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"picolab/initramfs"
	"picolab/initramfs/bb"
	"picolab/initramfs/deb"
	"picolab/recipes"
	"picolab/recipes/lock"
)

var update = flag.Bool("update", false, "rewrite testdata")

func sampleWriter() *writer {
	return &writer{
		Options: Options{Recipe: &recipes.Recipe{Name: "guest"}, Lock: &lock.Lock{Epoch: 1767225600}},
		layers: &initramfs.Layers{
			Packages: []initramfs.Package{{
				Package: lock.Package{Name: "libstdc++6", Version: "1:14.2~rc1+b1-3", Architecture: "amd64", Suite: "trixie", Filename: "pool/l.deb", SHA256: strings.Repeat("ab", 32)},
				Control: deb.Control{Source: "gcc-14", SourceVersion: "14.2", Maintainer: "Debian GCC <gcc@example.org>", Homepage: "https://gcc.example.org/"},
			}},
			Busybox: &bb.Busybox{SHA256: strings.Repeat("cd", 32), GoVersion: "go1.26.0",
				Modules: []bb.Dependency{{Path: "github.com/u-root/u-root", Version: "v0.16.0", Sum: "h1:x="}}},
		},
	}
}

func TestSBOMGolden(t *testing.T) {
	got, err := json.MarshalIndent(sampleWriter().document(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/sbom.spdx.json"
	if *update {
		writeFile(t, golden, string(got))
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(got) != string(want) {
		t.Errorf("%v; run with -update after checking:\n%s", err, got)
	}
}

// TestSBOMIdentifiers checks what a JSON schema of SPDX 2.3 would: identifiers are of the allowed letters and unique,
// and every relationship has both ends.
func TestSBOMIdentifiers(t *testing.T) {
	d := sampleWriter().document()
	shape := regexp.MustCompile(`^SPDXRef-[A-Za-z0-9.-]+$`)
	ids := map[string]bool{d.ID: true}
	for _, p := range d.Packages {
		if !shape.MatchString(p.ID) || ids[p.ID] {
			t.Errorf("identifier %q is malformed or used twice", p.ID)
		}
		ids[p.ID] = true
	}
	for _, r := range d.Relationships {
		if !ids[r.Element] || !ids[r.Related] {
			t.Errorf("relationship %v has a loose end", r)
		}
	}
}

func TestSBOMNamespaceFollowsTheContents(t *testing.T) {
	a, b := sampleWriter().document(), sampleWriter().document()
	if a.Namespace != b.Namespace {
		t.Errorf("two namespaces for one content: %s, %s", a.Namespace, b.Namespace)
	}
	w := sampleWriter()
	w.layers.Packages[0].SHA256 = strings.Repeat("00", 32)
	if w.document().Namespace == a.Namespace {
		t.Error("one namespace for two contents")
	}
}
