package kmod

import (
	"fmt"
	"slices"
	"strings"

	"picolab/initramfs/tree"
)

// Stage returns the modules of Closure(t, want) as files below
// prefix/RELEASE, prefix being "lib/modules" or "usr/lib/modules": unpacked
// (.ko), with the text files a loader reads: modules.dep, modules.alias,
// modules.softdep and modules.builtin (modules.dep(5), depmod(8)). Contents
// are held in memory.
func Stage(t *tree.Tree, want []string, prefix string) (*tree.Tree, error) {
	s, order, err := resolve(t, want)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(order, func(a, b Module) int { return strings.Compare(a.Path, b.Path) })
	out := tree.New()
	dir := prefix + "/" + s.release + "/"
	for _, m := range order {
		e := tree.Regular(0o644, tree.Bytes(s.loaded[m.Name].data)).From(s.byName[m.Name].source)
		if err := out.Put(dir+m.Path, e); err != nil {
			return nil, fmt.Errorf("stage modules: %w", err)
		}
	}
	for name, blob := range s.indexes(order) {
		if err := out.Put(dir+name, tree.Regular(0o644, blob).From("module index")); err != nil {
			return nil, fmt.Errorf("stage modules: %w", err)
		}
	}
	return out, nil
}

// indexes makes the text files for the modules given.
func (s *set) indexes(modules []Module) map[string]tree.Blob {
	builtin := s.builtinList
	if builtin == nil {
		builtin = tree.Bytes(nil)
	}
	return map[string]tree.Blob{
		"modules.dep":     tree.Bytes(depFile(modules)),
		"modules.alias":   tree.Bytes(aliasFile(modules)),
		"modules.softdep": tree.Bytes(softdepFile(modules)),
		"modules.builtin": builtin,
	}
}

// depFile writes a line "path: path..." per module with everything it needs.
// A loader goes through a line backwards, so what is needed first comes last.
func depFile(modules []Module) []byte {
	byName := map[string]Module{}
	for _, m := range modules {
		byName[m.Name] = m
	}
	var b strings.Builder
	for _, m := range modules {
		b.WriteString(m.Path + ":")
		for _, dep := range slices.Backward(needs(m, byName, nil)) {
			b.WriteString(" " + dep.Path)
		}
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

// needs appends what m needs to got, in load order. Built-in modules are not in
// byName and need no line.
func needs(m Module, byName map[string]Module, got []Module) []Module {
	for _, name := range m.Depends {
		dep, ok := byName[name]
		if !ok || slices.ContainsFunc(got, func(g Module) bool { return g.Name == name }) {
			continue
		}
		got = append(needs(dep, byName, got), dep)
	}
	return got
}

func aliasFile(modules []Module) []byte {
	var b strings.Builder
	b.WriteString("# Aliases extracted from modules themselves.\n")
	for _, m := range modules {
		for _, alias := range m.Aliases {
			fmt.Fprintf(&b, "alias %s %s\n", alias, m.Name)
		}
	}
	return []byte(b.String())
}

func softdepFile(modules []Module) []byte {
	var b strings.Builder
	b.WriteString("# Soft dependencies extracted from modules themselves.\n")
	for _, m := range modules {
		for _, soft := range m.softdeps {
			fmt.Fprintf(&b, "softdep %s %s\n", m.Name, soft)
		}
	}
	return []byte(b.String())
}
