// Package compare says in which ways two images, recipes or locks differ: command line, packages, modules, files, sizes.
// Equal ones have no changes at all; for images that is decided by every digest, not by a summary.
package compare

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"picolab/images/inspect"
	"picolab/images/manifest"
	"picolab/initramfs/tree"
	"picolab/recipes/debian"
)

// Change is one difference.
type Change struct {
	Section string `json:"section"` // "image", "layer", "command line", "menu", "package", "module", "file", "size", "recipe", "lock"
	Op      string `json:"op"`      // "+" only in the second, "-" only in the first, "^" newer, "v" older, "~" other
	Name    string `json:"name"`
	Was     string `json:"was,omitempty"`
	Is      string `json:"is,omitempty"`
}

// String is the line of a listing.
func (c Change) String() string {
	switch {
	case c.Was != "" && c.Is != "":
		return fmt.Sprintf("%s %s %s: %s -> %s", c.Op, c.Section, c.Name, c.Was, c.Is)
	case c.Was+c.Is != "":
		return fmt.Sprintf("%s %s %s: %s", c.Op, c.Section, c.Name, c.Was+c.Is)
	}
	return fmt.Sprintf("%s %s %s", c.Op, c.Section, c.Name)
}

// Images compares two images.
func Images(a, b *inspect.Report) ([]Change, error) {
	var out []Change
	out = append(out, values("image", head(a.Image), head(b.Image))...)
	out = append(out, values("layer", layers(a.Image), layers(b.Image))...)
	out = append(out, values("command line", counted(a.Image.CommandLine), counted(b.Image.CommandLine))...)
	out = append(out, values("menu", menu(a.Image), menu(b.Image))...)
	out = append(out, versions(packages(a), packages(b))...)
	out = append(out, values("module", modules(a), modules(b))...)
	files, err := trees(a, b)
	if err != nil {
		return nil, err
	}
	return slices.Concat(out, files, sizes(a, b)), nil
}

func head(m *manifest.Manifest) map[string]string {
	return map[string]string{"name": m.Name, "kind": m.Kind, "kernel release": m.KernelRelease, "lock": short(m.Lock), "epoch": strconv.FormatInt(m.Epoch, 10)}
}

// layers are the digests of the image's files: nothing that differs goes unnoticed.
func layers(m *manifest.Manifest) map[string]string {
	set := map[string]string{}
	for _, f := range m.Files {
		set[f.Name] = short(f.SHA256)
	}
	if m.RootFS != nil {
		set[m.RootFS.Name] = short(m.RootFS.SHA256)
	}
	return set
}

func short(digest string) string { return digest[:min(12, len(digest))] }

// counted makes a set of a list that may have an entry twice, with the order left out.
func counted(list []string) map[string]string {
	set := make(map[string]string, len(list))
	for _, s := range list {
		set[s] = ""
	}
	return set
}

func menu(m *manifest.Manifest) map[string]string {
	set := map[string]string{}
	for _, c := range m.Menu {
		set[c.Title] = strings.Join(c.CommandLine, " ")
	}
	return set
}

func packages(r *inspect.Report) map[string]string {
	set := make(map[string]string, len(r.Packages))
	for _, p := range r.Packages {
		set[p.Type+" "+p.Name] = p.Version
	}
	return set
}

func modules(r *inspect.Report) map[string]string {
	set := make(map[string]string, len(r.Modules))
	for _, m := range r.Modules {
		set[m.Name] = ""
	}
	return set
}

// trees compares the files of each layer.
func trees(a, b *inspect.Report) ([]Change, error) {
	ta, err := a.Trees()
	if err != nil {
		return nil, err
	}
	tb, err := b.Trees()
	if err != nil {
		return nil, err
	}
	var out []Change
	for _, layer := range keys(ta, tb) {
		out = append(out, files(layer, or(ta[layer]), or(tb[layer]))...)
	}
	return out, nil
}

func or(t *tree.Tree) *tree.Tree {
	if t == nil {
		return tree.New()
	}
	return t
}

func files(layer string, a, b *tree.Tree) []Change {
	var out []Change
	for _, d := range tree.Diff(a, b) {
		c := Change{Section: "file", Op: "~", Name: layer + "/" + d.Path, Is: d.What}
		if _, ok := a.Get(d.Path); !ok {
			c.Op, c.Is = "+", ""
		} else if _, ok := b.Get(d.Path); !ok {
			c.Op, c.Is = "-", ""
		}
		out = append(out, c)
	}
	return out
}

func sizes(a, b *inspect.Report) []Change {
	of := func(r *inspect.Report) map[string]string {
		set := map[string]string{}
		var total int64
		for _, l := range r.Layers {
			set[l.Name] = fmt.Sprint(l.Size)
			total += l.Size
		}
		set["total"] = fmt.Sprint(total)
		return set
	}
	return values("size", of(a), of(b))
}

// values compares what has a name and a value.
func values(section string, a, b map[string]string) []Change {
	var out []Change
	for _, name := range keys(a, b) {
		was, inA := a[name]
		is, inB := b[name]
		switch {
		case !inA:
			out = append(out, Change{section, "+", name, "", is})
		case !inB:
			out = append(out, Change{section, "-", name, was, ""})
		case was != is:
			out = append(out, Change{section, "~", name, was, is})
		}
	}
	return out
}

// versions is values with the order of Debian's versions, which is good enough for Go's.
func versions(a, b map[string]string) []Change {
	out := values("package", a, b)
	for i, c := range out {
		if c.Op != "~" {
			continue
		}
		switch order := debian.Compare(c.Was, c.Is); {
		case order < 0:
			out[i].Op = "^"
		case order > 0:
			out[i].Op = "v"
		}
	}
	return out
}

func keys[V any](maps ...map[string]V) []string {
	var list []string
	for _, m := range maps {
		for k := range m {
			list = append(list, k)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
