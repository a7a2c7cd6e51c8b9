package recipes

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// merge returns the recipe that results when child extends base. A scalar that the child sets overrides; lists are the
// base's entries followed by the child's. An entry that the base already has is not repeated; a suite, file or menu
// entry of the same name, path or title replaces the base's.
func merge(base, child *Recipe) *Recipe {
	out := &Recipe{file: child.file, where: maps.Clone(base.where)}
	m := merger{to: out.where, from: child.where}
	m.scalar("name", &out.Name, base.Name, child.Name)
	m.scalar("description", &out.Description, base.Description, child.Description)
	m.scalar("kind", &out.Kind, base.Kind, child.Kind)
	m.scalar("extends", &out.Extends, "", child.Extends)
	m.scalar("architecture", &out.Architecture, base.Architecture, child.Architecture)
	m.scalar("mirror", &out.Mirror, base.Mirror, child.Mirror)
	m.scalar("init", &out.Init, base.Init, child.Init)
	m.scalar("kernel.package", &out.Kernel.Package, base.Kernel.Package, child.Kernel.Package)
	m.scalar("limits.boot", (*string)(&out.Limits.Boot), string(base.Limits.Boot), string(child.Limits.Boot))
	m.scalar("limits.root", (*string)(&out.Limits.Root), string(base.Limits.Root), string(child.Limits.Root))
	m.scalar("limits.image", (*string)(&out.Limits.Image), string(base.Limits.Image), string(child.Limits.Image))

	self := func(s string) string { return s }
	out.Packages = list(m, "packages", base.Packages, child.Packages, self)
	out.Exclude = list(m, "exclude", base.Exclude, child.Exclude, self)
	out.Commands = list(m, "commands", base.Commands, child.Commands, self)
	out.Kernel.Firmware = list(m, "kernel.firmware", base.Kernel.Firmware, child.Kernel.Firmware, self)
	out.Kernel.Extra = list(m, "kernel.extra", base.Kernel.Extra, child.Kernel.Extra, func(l Local) string { return l.Path })
	mergeKernel(m, &out.Kernel, base.Kernel, child.Kernel)
	out.Kernel.Modules = list(m, "kernel.modules", base.Kernel.Modules, child.Kernel.Modules, self)
	out.Kernel.Load = list(m, "kernel.load", base.Kernel.Load, child.Kernel.Load, self)
	out.Kernel.CommandLine = list(m, "kernel.command_line", base.Kernel.CommandLine, child.Kernel.CommandLine, self)
	out.Drop = list(m, "drop", base.Drop, child.Drop, self)
	out.Images = list(m, "images", base.Images, child.Images, self)
	out.Boot.Modules = list(m, "boot.modules", base.Boot.Modules, child.Boot.Modules, self)
	out.Boot.Commands = list(m, "boot.commands", base.Boot.Commands, child.Boot.Commands, self)
	out.Suites = list(m, "suites", base.Suites, child.Suites, func(s Suite) string { return s.Name })
	out.Files = list(m, "files", base.Files, child.Files, func(f File) string { return f.Path })
	out.Menu = list(m, "menu", base.Menu, child.Menu, func(e MenuEntry) string { return e.Title })
	return out
}

// mergeKernel lets a kernel of this machine replace one of a package, and the other way round.
func mergeKernel(m merger, out *Kernel, base, child Kernel) {
	out.Image, out.Tree = base.Image, base.Tree
	switch {
	case child.Image.Path != "":
		out.Package, out.Image, out.Tree = child.Package, child.Image, child.Tree
		m.move("kernel.image", "kernel.image")
		m.move("kernel.tree", "kernel.tree")
	case child.Package != "":
		out.Image, out.Tree = Local{}, child.Tree
		m.move("kernel.tree", "kernel.tree")
	}
}

// A merger moves the places of the child's nodes along with their values, so that errors still point at the right file.
type merger struct{ to, from places }

func (m merger) scalar(node string, out *string, base, child string) {
	*out = base
	if child != "" {
		*out = child
		m.move(node, node)
	}
}

// move copies the places of a node and of everything below it.
func (m merger) move(from, to string) {
	for node, at := range m.from {
		if rest, ok := strings.CutPrefix(node, from); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			m.to[to+rest] = at
		}
	}
}

// list appends the child's entries; key tells which entries are the same. Only entries of the base are replaced, so that
// duplicates within one file stay, for Validate to report.
func list[T any](m merger, node string, base, child []T, key func(T) string) []T {
	out := slices.Clone(base)
	for i, entry := range child {
		at := len(out)
		if j := slices.IndexFunc(base, func(b T) bool { return key(b) == key(entry) }); j >= 0 {
			at, out[j] = j, entry
		} else {
			out = append(out, entry)
		}
		m.move(fmt.Sprintf("%s[%d]", node, i), fmt.Sprintf("%s[%d]", node, at))
	}
	return out
}
