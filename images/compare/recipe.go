package compare

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"picolab/recipes"
	"picolab/recipes/lock"
)

// Locks compares two locks.
func Locks(a, b *lock.Lock) []Change {
	out := values("lock", lockHead(a), lockHead(b))
	out = append(out, versions(locked(a), locked(b))...)
	bytes := func(l *lock.Lock) map[string]string { return map[string]string{"packages": fmt.Sprint(l.Size())} }
	return slices.Concat(out, values("file", local(a), local(b)), values("size", bytes(a), bytes(b)))
}

func lockHead(l *lock.Lock) map[string]string {
	set := map[string]string{"recipe": l.Recipe, "resolution": short(l.RecipeSHA256), "epoch": strconv.FormatInt(l.Epoch, 10), "keyring": short(strings.Join(l.Keyrings, " "))}
	for _, s := range l.Suites {
		set["suite "+s.Name] = s.Date
	}
	return set
}

func locked(l *lock.Lock) map[string]string {
	set := make(map[string]string, len(l.Packages))
	for _, p := range l.Packages {
		name := p.Name
		if p.Role != "" {
			name += " (" + p.Role + ")"
		}
		set[name] = p.Version
	}
	return set
}

func local(l *lock.Lock) map[string]string {
	set := map[string]string{}
	for _, f := range l.Local {
		set[f.Path] = short(f.SHA256)
	}
	return set
}

// Recipes compares two recipes as they are after extends.
func Recipes(a, b *recipes.Recipe) []Change {
	out := values("recipe", recipeHead(a), recipeHead(b))
	for _, l := range []struct {
		section string
		a, b    []string
	}{
		{"package", a.Packages, b.Packages}, {"exclude", a.Exclude, b.Exclude}, {"firmware", a.Kernel.Firmware, b.Kernel.Firmware},
		{"module", a.Kernel.Modules, b.Kernel.Modules}, {"load", a.Kernel.Load, b.Kernel.Load},
		{"command line", a.Kernel.CommandLine, b.Kernel.CommandLine}, {"command", a.Commands, b.Commands},
	} {
		out = append(out, values(l.section, counted(l.a), counted(l.b))...)
	}
	return slices.Concat(out, values("suite", suites(a), suites(b)), values("file", recipeFiles(a), recipeFiles(b)), values("menu", recipeMenu(a), recipeMenu(b)))
}

func recipeHead(r *recipes.Recipe) map[string]string {
	set := map[string]string{"name": r.Name, "kind": r.Kind, "kernel": r.Kernel.Package + r.Kernel.Image.Path, "init": r.Init,
		"limits.boot": string(r.Limits.Boot), "limits.root": string(r.Limits.Root), "mirror": r.Mirror}
	for _, e := range r.Kernel.Extra {
		set["kernel.extra "+e.Path] = short(e.SHA256)
	}
	return set
}

func suites(r *recipes.Recipe) map[string]string {
	set := map[string]string{}
	for _, s := range r.Suites {
		set[s.Name] = strings.Join(slices.Concat([]string{s.Path}, s.Components, s.Only), " ")
	}
	return set
}

func recipeFiles(r *recipes.Recipe) map[string]string {
	set := map[string]string{}
	for _, f := range r.Files {
		set[f.Path] = fmt.Sprintf("%s%s%s %s", f.Mode, f.Link, f.Source, short(digest(f.Content)))
	}
	return set
}

func recipeMenu(r *recipes.Recipe) map[string]string {
	set := map[string]string{}
	for _, m := range r.Menu {
		set[m.Title] = strings.Join(m.CommandLine, " ")
	}
	return set
}

func digest(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}
