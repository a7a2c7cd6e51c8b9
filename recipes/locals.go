package recipes

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A LocalFile is a file or folder of this machine that a recipe names.
type LocalFile struct {
	Node   string // of the recipe, "kernel.extra[0]"
	Name   string // how a lock calls it: relative to the recipe's folder where that is possible
	Path   string // on this machine
	SHA256 string // what the recipe says it must be, "" when it does not
	Folder bool
}

// Locals returns what the recipe takes from this machine, by node.
func (r *Recipe) Locals() []LocalFile {
	var out []LocalFile
	add := func(node, name, sha256 string, folder bool) {
		if name != "" {
			out = append(out, r.local(node, name, sha256, folder))
		}
	}
	for i, f := range r.Files {
		add(fmt.Sprintf("files[%d]", i), f.Source, f.SHA256, false)
	}
	for i, e := range r.Kernel.Extra {
		add(fmt.Sprintf("kernel.extra[%d]", i), e.Path, e.SHA256, false)
	}
	add("kernel.image", r.Kernel.Image.Path, r.Kernel.Image.SHA256, false)
	add("kernel.tree", r.Kernel.Tree.Path, r.Kernel.Tree.SHA256, true)
	return out
}

// local resolves a path against the file that says it, which may be one that the recipe extends.
func (r *Recipe) local(node, name, sha256 string, folder bool) LocalFile {
	f := LocalFile{Node: node, Name: name, Path: filepath.Clean(name), SHA256: sha256, Folder: folder}
	if filepath.IsAbs(name) {
		return f
	}
	said := r.file
	if at, ok := r.where[node]; ok {
		said = at.file
	}
	f.Path = filepath.Join(filepath.Dir(said), name)
	if rel, err := filepath.Rel(filepath.Dir(r.file), f.Path); err == nil {
		f.Name = filepath.ToSlash(rel)
	}
	return f
}

// Takes says whether packages of a name are taken from the suite.
func (s Suite) Takes(name string) bool {
	return len(s.Only) == 0 || slices.ContainsFunc(s.Only, func(pattern string) bool {
		ok, _ := path.Match(pattern, name) // the pattern was checked
		return ok
	})
}

// CheckName checks the recipe's own name alone.
func (r *Recipe) CheckName() error {
	c := Recipe{Name: r.Name, Kind: "guest", Architecture: "amd64", file: r.file, where: r.where}
	return c.checkHead()
}

// HasKernel says whether the image has a kernel at all.
func (r *Recipe) HasKernel() bool { return r.Kernel.Package != "" || r.Kernel.Image.Path != "" }

// Fault makes an *Error that points at a node of the recipe, or at its file when the node is absent.
func (r *Recipe) Fault(node, format string, args ...any) *Error {
	return r.fault(node, format, args...)
}

// ExtraModules returns the names of the modules that kernel.extra gives as .ko files.
func (r *Recipe) ExtraModules() []string {
	var names []string
	for _, e := range r.Kernel.Extra {
		if name, ok := strings.CutSuffix(path.Base(filepath.ToSlash(e.Path)), ".ko"); ok {
			names = append(names, name)
		}
	}
	return names
}

func (r *Recipe) checkLocals() error {
	for i, e := range r.Kernel.Extra {
		node := fmt.Sprintf("kernel.extra[%d]", i)
		if !slices.Contains([]string{".ko", ".deb"}, path.Ext(e.Path)) {
			return r.fault(node, "module %q: the path must end in .ko or .deb; unpack compressed modules first", e.Path)
		}
		if slices.ContainsFunc(r.Kernel.Extra[:i], func(o Local) bool { return o.Path == e.Path }) {
			return r.fault(node, "module %s is listed twice; remove one", e.Path)
		}
	}
	for _, l := range []struct {
		node string
		Local
	}{{"kernel.image", r.Kernel.Image}, {"kernel.tree", r.Kernel.Tree}} {
		if l.Path == "" && l.SHA256 != "" {
			return r.fault(l.node, "%s has no path", l.node)
		}
	}
	for _, f := range r.Locals() {
		switch {
		case strings.ContainsFunc(f.Name, func(c rune) bool { return c < ' ' || c == 0x7f }) || len(f.Name) > 4095:
			return r.fault(f.Node, "path %.80q: control character, or too long", f.Name)
		case f.SHA256 != "" && !digestShape.MatchString(f.SHA256):
			return r.fault(f.Node, "sha256 %.70q: not 64 hex digits in lower case", f.SHA256)
		}
	}
	return nil
}
