package lock

import (
	"fmt"
	"strings"

	"picolab/recipes/debian"
)

// Diff returns what changed between two locks for a person to read, one line a suite or package: + added, - removed,
// ^ newer, v older, ~ other bytes. It is empty when nothing changed. A nil lock has nothing in it.
func Diff(old, new *Lock) string {
	if old == nil {
		old = &Lock{}
	}
	var b strings.Builder
	if old.RecipeSHA256 != new.RecipeSHA256 && old.RecipeSHA256 != "" {
		fmt.Fprintf(&b, "~ recipe %s: suites, packages, exclude or kernel.package changed\n", new.Recipe)
	}
	if strings.Join(old.Keyrings, " ") != strings.Join(new.Keyrings, " ") && len(old.Keyrings) > 0 {
		fmt.Fprintf(&b, "~ keyring %.12s -> %.12s\n", strings.Join(old.Keyrings, " "), strings.Join(new.Keyrings, " "))
	}
	diffSuites(&b, old.Suites, new.Suites)
	diffPackages(&b, old, new)
	diffLocal(&b, old.Local, new.Local)
	return b.String()
}

func diffSuites(b *strings.Builder, old, new []Suite) {
	before := map[string]Suite{}
	for _, s := range old {
		before[s.Name] = s
	}
	for _, s := range new {
		switch was, ok := before[s.Name]; {
		case !ok:
			fmt.Fprintf(b, "+ suite %s of %s\n", s.Name, s.Date)
		case was.Date != s.Date:
			fmt.Fprintf(b, "^ suite %s of %s -> %s\n", s.Name, was.Date, s.Date)
		case was != s:
			fmt.Fprintf(b, "~ suite %s of %s: other index\n", s.Name, s.Date)
		}
		delete(before, s.Name)
	}
	for _, s := range old {
		if _, gone := before[s.Name]; gone {
			fmt.Fprintf(b, "- suite %s\n", s.Name)
		}
	}
}

// diffPackages walks both sorted lists side by side.
func diffPackages(b *strings.Builder, old, new *Lock) {
	i, j := 0, 0
	for i < len(old.Packages) || j < len(new.Packages) {
		switch order := nextOrder(old.Packages[i:], new.Packages[j:]); {
		case order < 0:
			fmt.Fprintf(b, "- %s %s\n", old.Packages[i].label(), old.Packages[i].Version)
			i++
		case order > 0:
			fmt.Fprintf(b, "+ %s %s (%.1f MB)\n", new.Packages[j].label(), new.Packages[j].Version, float64(new.Packages[j].Size)/1e6)
			j++
		default:
			diffPackage(b, old.Packages[i], new.Packages[j])
			i, j = i+1, j+1
		}
	}
	if b.Len() > 0 {
		fmt.Fprintf(b, "= %d packages, %.1f MB\n", len(new.Packages), float64(new.Size())/1e6)
	}
}

// diffLocal compares files of the machine by name.
func diffLocal(b *strings.Builder, old, new []Local) {
	before := map[string]Local{}
	for _, f := range old {
		before[f.Path] = f
	}
	for _, f := range new {
		switch was, ok := before[f.Path]; {
		case !ok:
			fmt.Fprintf(b, "+ file %s %.12s\n", f.Path, f.SHA256)
		case was != f:
			fmt.Fprintf(b, "~ file %s %.12s -> %.12s\n", f.Path, was.SHA256, f.SHA256)
		}
		delete(before, f.Path)
	}
	for _, f := range old {
		if _, gone := before[f.Path]; gone {
			fmt.Fprintf(b, "- file %s\n", f.Path)
		}
	}
}

func nextOrder(a, b []Package) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return packageOrder(a[0], b[0])
}

func diffPackage(b *strings.Builder, was, is Package) {
	switch c := debian.Compare(was.Version, is.Version); {
	case c < 0:
		fmt.Fprintf(b, "^ %s %s -> %s\n", is.label(), was.Version, is.Version)
	case c > 0:
		fmt.Fprintf(b, "v %s %s -> %s\n", is.label(), was.Version, is.Version)
	case was != is:
		fmt.Fprintf(b, "~ %s %s: other file or suite\n", is.label(), is.Version)
	}
}

func (p Package) label() string {
	if p.Role == "" {
		return p.Name
	}
	return p.Name + " (" + p.Role + ")"
}
