// Package kmod chooses kernel modules for an image: what a set of names needs,
// in which order to load it, and the index files that a loader reads.
//
// A Debian kernel package has no modules.dep, so dependencies come from each
// module's .modinfo section (modinfo(8), modules.dep(5)); only the modules
// asked for, and those they need, are unpacked. Soft dependencies follow
// modprobe: "pre" before, "post" after, and what is not there is passed over.
// A soft dependency may be an alias. Those of devices ("platform:x") are left
// to whoever loads by modalias; others are looked for among the modules below
// kernel/crypto, kernel/arch and kernel/lib, where Linux keeps what its code
// asks for by algorithm (libcrc32c asks for "crc32c" and fails without it).
//
// Module signatures are part of the unpacked files and survive.
package kmod

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"picolab/initramfs/tree"
)

// Module is a kernel module as its .modinfo section describes it.
type Module struct {
	Name     string   // with underscores, as /proc/modules has it
	Path     string   // below lib/modules/RELEASE, unpacked: "kernel/drivers/net/tun.ko"
	Depends  []string // names of modules it cannot be loaded without
	SoftPre  []string // names or aliases to load first if they are there
	SoftPost []string // names or aliases to load afterwards if they are there
	Aliases  []string // patterns of modalias, and other names
	License  string
	Vermagic string   // release and options of the kernel it was built for
	Firmware []string // paths or globs below lib/firmware that it may ask for
	softdeps []string
}

// roots are where a tree may keep its modules.
var roots = []string{"lib/modules/", "usr/lib/modules/"}

// Release returns the kernel release whose modules t holds, below lib/modules
// or usr/lib/modules. It fails unless there is exactly one.
func Release(t *tree.Tree) (string, error) {
	_, release, err := locate(t)
	return release, err
}

// locate returns the folder of the modules and the release it is named after.
func locate(t *tree.Tree) (dir, release string, err error) {
	for p := range t.All() {
		for _, root := range roots {
			name, _, below := strings.Cut(strings.TrimPrefix(p, root), "/")
			if !strings.HasPrefix(p, root) || !below || root+name == dir {
				continue
			}
			if dir != "" {
				return "", "", fmt.Errorf("find modules: both %s and %s are there", dir, root+name)
			}
			dir, release = root+name, name
		}
	}
	if dir == "" {
		return "", "", fmt.Errorf("find modules: nothing below %s", strings.Join(roots, " or "))
	}
	return dir, release, nil
}

// Closure returns the modules that want asks for, and all they need, in an
// order in which they can be loaded one by one. Modules built into the kernel
// are left out. t is the unpacked kernel package. An element of want is one of
//
//	virtio_net                     a name; "-" and "_" are the same
//	virtio_*                       a glob over names (path.Match)
//	drivers/net/ethernet/intel/*   everything below a folder of kernel/
//	drivers/net/*/igb              a glob over paths below kernel/
//
// The order is that of want, of the paths within a glob, and of the depends
// field within a module. A name that does not exist, or a glob that matches
// nothing, is an error.
func Closure(t *tree.Tree, want []string) ([]Module, error) {
	_, order, err := resolve(t, want)
	return order, err
}

func resolve(t *tree.Tree, want []string) (*set, []Module, error) {
	s, err := newSet(t)
	if err != nil {
		return nil, nil, err
	}
	w := &walk{set: s, state: map[string]visit{}}
	for _, pattern := range want {
		names, err := s.match(pattern)
		if err != nil {
			return nil, nil, fmt.Errorf("choose modules: %w", err)
		}
		for _, name := range names {
			if err := w.hard(name); err != nil {
				return nil, nil, fmt.Errorf("choose modules: %s: %w", pattern, err)
			}
		}
	}
	return s, w.order, nil
}

// walk is a depth-first walk over dependencies.
type walk struct {
	set   *set
	state map[string]visit
	order []Module
}

type visit int

const (
	begun visit = iota + 1
	finished
)

// hard adds a module and what it needs.
func (w *walk) hard(name string) error {
	switch {
	case w.state[name] == finished || w.set.isBuiltin(name):
		return nil
	case w.state[name] == begun:
		return fmt.Errorf("module %s needs itself", name)
	}
	w.state[name] = begun
	m, err := w.set.module(name)
	if err != nil {
		return err
	}
	if err := w.soft(m.SoftPre); err != nil {
		return err
	}
	for _, dep := range m.Depends {
		if err := w.hard(dep); err != nil {
			return fmt.Errorf("needed by %s: %w", name, err)
		}
	}
	w.order = append(w.order, *m)
	w.state[name] = finished
	return w.soft(m.SoftPost)
}

// soft adds the modules that soft dependencies name, where they exist and are
// not being added already.
func (w *walk) soft(wanted []string) error {
	for _, name := range wanted {
		names, err := w.set.provide(name)
		if err != nil {
			return err
		}
		for _, n := range names {
			if w.state[n] == begun {
				continue
			}
			if err := w.hard(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// match returns the names that one element of want stands for.
func (s *set) match(pattern string) ([]string, error) {
	if !strings.ContainsAny(pattern, "/*?[") {
		return s.exact(pattern)
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, fmt.Errorf("%q: %w", pattern, err)
	}
	var names []string
	for _, f := range s.files {
		if f.matches(pattern) {
			names = append(names, f.name)
		}
	}
	if len(names) == 0 && !slices.ContainsFunc(s.builtinPaths, func(p string) bool { return fileAt(p).matches(pattern) }) {
		return nil, fmt.Errorf("no module matches %q in %s", pattern, s.release)
	}
	return names, nil
}

func (s *set) exact(name string) ([]string, error) {
	name = normalize(name)
	if s.isBuiltin(name) {
		return nil, nil
	}
	if _, ok := s.byName[name]; !ok {
		return nil, &UnknownError{Name: name, Release: s.release, Near: nearest(name, s.names())}
	}
	return []string{name}, nil
}

// matches reports whether a glob takes the file.
func (f modFile) matches(pattern string) bool {
	below, ok := strings.CutPrefix(f.rel, "kernel/")
	if !strings.Contains(pattern, "/") {
		return match(normalize(pattern), f.name)
	}
	if !ok {
		return false
	}
	pattern = strings.TrimPrefix(pattern, "kernel/")
	if dir, all := strings.CutSuffix(pattern, "/*"); all {
		parts := strings.Split(below, "/")
		depth := strings.Count(dir, "/") + 1
		return len(parts) > depth && match(dir, strings.Join(parts[:depth], "/"))
	}
	stem, _, _ := strings.Cut(below, ".ko")
	return match(pattern, stem)
}

// match is path.Match for a pattern known to be well-formed.
func match(pattern, name string) bool {
	ok, _ := path.Match(pattern, name)
	return ok
}

// normalize gives a module name the form the kernel uses.
func normalize(name string) string { return strings.ReplaceAll(name, "-", "_") }
