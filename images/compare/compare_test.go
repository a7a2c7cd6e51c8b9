package compare

import (
	"slices"
	"strings"
	"testing"

	"picolab/images/inspect"
	"picolab/images/manifest"
	"picolab/recipes"
	"picolab/recipes/lock"
)

func lines(changes []Change) (out []string) {
	for _, c := range changes {
		out = append(out, c.String())
	}
	return out
}

func wantLines(t *testing.T, changes []Change, want ...string) {
	t.Helper()
	if got := lines(changes); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestImages(t *testing.T) {
	a := &inspect.Report{
		Image:    &manifest.Manifest{Name: "x", KernelRelease: "1", CommandLine: []string{"quiet", "a=1"}, Menu: []manifest.Choice{{Title: "one"}}},
		Packages: []inspect.Package{{Name: "tool", Version: "1.9", Type: "deb"}, {Name: "gone", Version: "1", Type: "deb"}, {Name: "m", Version: "v2", Type: "golang"}},
		Modules:  []inspect.Module{{Name: "igb"}, {Name: "tun"}}, Layers: []inspect.Layer{{Name: "l", Size: 10}},
	}
	b := &inspect.Report{
		Image:    &manifest.Manifest{Name: "x", KernelRelease: "2", CommandLine: []string{"a=1", "debug"}, Menu: []manifest.Choice{{Title: "one", CommandLine: []string{"y"}}}},
		Packages: []inspect.Package{{Name: "tool", Version: "1.10", Type: "deb"}, {Name: "m", Version: "v1", Type: "golang"}, {Name: "new", Version: "3", Type: "deb"}},
		Modules:  []inspect.Module{{Name: "tun"}, {Name: "igc"}}, Layers: []inspect.Layer{{Name: "l", Size: 11}},
	}
	changes, err := Images(a, b)
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, changes, "~ image kernel release: 1 -> 2", "+ command line debug", "- command line quiet", "~ menu one: y",
		"- package deb gone: 1", "+ package deb new: 3", "^ package deb tool: 1.9 -> 1.10", "v package golang m: v2 -> v1",
		"- module igb", "+ module igc", "~ size l: 10 -> 11", "~ size total: 10 -> 11")
	if same, err := Images(a, a); err != nil || len(same) > 0 {
		t.Errorf("%v, %v", same, err)
	}
}

func TestLocks(t *testing.T) {
	a := &lock.Lock{Recipe: "x", Epoch: 1, Suites: []lock.Suite{{Name: "trixie", Date: "d1"}}, Packages: []lock.Package{{Name: "k", Version: "2", Role: lock.RoleKernel, Size: 5}}}
	b := &lock.Lock{Recipe: "x", Epoch: 1, Suites: []lock.Suite{{Name: "trixie", Date: "d2"}}, Packages: []lock.Package{{Name: "k", Version: "1", Role: lock.RoleKernel, Size: 6}},
		Local: []lock.Local{{Path: "a.ko", SHA256: strings.Repeat("ab", 32)}}}
	wantLines(t, Locks(a, b), "~ lock suite trixie: d1 -> d2", "v package k (kernel): 2 -> 1", "+ file a.ko: abababababab", "~ size packages: 5 -> 6")
	wantLines(t, Locks(a, a))
}

// TestRecipes changes every part of a recipe, and wants to hear of each.
func TestRecipes(t *testing.T) {
	a, err := recipes.Open("guest")
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, Recipes(a, a))
	for what, change := range map[string]func(*recipes.Recipe){
		"recipe init":         func(r *recipes.Recipe) { r.Init = "other" },
		"recipe kernel":       func(r *recipes.Recipe) { r.Kernel.Package = "linux-image-cloud-amd64" },
		"recipe kernel.extra": func(r *recipes.Recipe) { r.Kernel.Extra = []recipes.Local{{Path: "x.ko"}} },
		"recipe limits.boot":  func(r *recipes.Recipe) { r.Limits.Boot = "1 MB" },
		"+ package":           func(r *recipes.Recipe) { r.Packages = []string{"x"} },
		"+ exclude":           func(r *recipes.Recipe) { r.Exclude = []string{"x"} },
		"+ firmware":          func(r *recipes.Recipe) { r.Kernel.Firmware = []string{"x"} },
		"- module":            func(r *recipes.Recipe) { r.Kernel.Modules = r.Kernel.Modules[1:] },
		"+ command line":      func(r *recipes.Recipe) { r.Kernel.CommandLine = append(slices.Clone(r.Kernel.CommandLine), "x") },
		"- command picolab":   func(r *recipes.Recipe) { r.Commands = r.Commands[1:] },
		"~ suite": func(r *recipes.Recipe) {
			r.Suites = []recipes.Suite{{Name: "trixie", Components: []string{"main", "x"}}}
		},
		"- file /etc/hosts": func(r *recipes.Recipe) { r.Files = r.Files[1:] },
		"+ menu x":          func(r *recipes.Recipe) { r.Menu = []recipes.MenuEntry{{Title: "x"}} },
	} {
		b := *a
		change(&b)
		if got := strings.Join(lines(Recipes(a, &b)), "\n"); !strings.Contains(got, what) {
			t.Errorf("want %q, got\n%s", what, got)
		}
	}
}
