package kmod

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"picolab/initramfs/internal/decompress"
	"picolab/initramfs/tree"
)

// maxModule bounds a module unpacked; the largest of Debian's are near 30 MB.
const maxModule = 128 << 20

// maxList bounds the text files that come with a kernel.
const maxList = 16 << 20

// set is the modules of a kernel package. Files are unpacked when asked for.
type set struct {
	release        string
	files          []modFile // sorted by path
	byName         map[string]modFile
	loaded         map[string]*object
	builtinPaths   []string // as modules.builtin has them
	builtin        map[string]bool
	builtinAliases map[string]bool
	algorithms     map[string][]string // alias to names, of the modules of code; nil until asked for
	builtinList    tree.Blob           // modules.builtin itself, nil without one
}

// modFile is a module's file in the package.
type modFile struct {
	name   string
	rel    string // below the folder of the release, as packed
	suffix string // of the compression
	blob   tree.Blob
	source string
}

// object is a module unpacked.
type object struct {
	Module
	data []byte
}

// newSet lists the modules of t.
func newSet(t *tree.Tree) (*set, error) {
	dir, release, err := locate(t)
	if err != nil {
		return nil, err
	}
	s := &set{release: release, byName: map[string]modFile{}, loaded: map[string]*object{}}
	for p, e := range t.All() {
		rel, ok := strings.CutPrefix(p, dir+"/")
		if ok && e.IsRegular() && strings.Contains(path.Base(p), ".ko") {
			s.add(rel, e)
		}
	}
	if err := s.readBuiltin(t, dir); err != nil {
		return nil, err
	}
	if len(s.files) == 0 && s.builtinList == nil {
		return nil, fmt.Errorf("find modules: none below %s", dir)
	}
	return s, nil
}

func (s *set) add(rel string, e tree.Entry) {
	f := fileAt(rel)
	f.blob, f.source = e.Blob, e.Source
	if _, ok := s.byName[f.name]; ok {
		return // the first by path stays
	}
	s.byName[f.name] = f
	s.files = append(s.files, f)
}

// fileAt splits a path such as kernel/lib/libcrc32c.ko.xz.
func fileAt(rel string) modFile {
	stem, suffix, _ := strings.Cut(path.Base(rel), ".ko")
	return modFile{name: normalize(stem), rel: rel, suffix: suffix}
}

// unpacked is the path of the file without its compression.
func (f modFile) unpacked() string { return strings.TrimSuffix(f.rel, f.suffix) }

func (s *set) names() []string {
	names := make([]string, 0, len(s.files)+len(s.builtinPaths))
	for _, f := range s.files {
		names = append(names, f.name)
	}
	for _, p := range s.builtinPaths {
		names = append(names, fileAt(p).name)
	}
	slices.Sort(names)
	return names
}

// readBuiltin reads modules.builtin and modules.builtin.modinfo, where they
// are: the modules that are part of the kernel image, and their aliases.
func (s *set) readBuiltin(t *tree.Tree, dir string) error {
	s.builtin, s.builtinAliases = map[string]bool{}, map[string]bool{}
	e, data, err := readText(t, dir+"/modules.builtin")
	if err != nil {
		return err
	}
	s.builtinList = e.Blob
	s.builtinPaths = strings.Fields(data)
	for _, p := range s.builtinPaths {
		s.builtin[fileAt(p).name] = true
	}
	_, data, err = readText(t, dir+"/modules.builtin.modinfo")
	for record := range strings.SplitSeq(data, "\x00") {
		name, value, ok := strings.Cut(record, ".alias=")
		if ok && !strings.Contains(name, "=") {
			s.builtinAliases[normalize(value)] = true
		}
	}
	return err
}

// readText reads a file of the tree; a missing one is empty.
func readText(t *tree.Tree, p string) (tree.Entry, string, error) {
	e, ok := t.Get(p)
	if !ok || !e.IsRegular() {
		return tree.Entry{}, "", nil
	}
	if e.Size() > maxList {
		return tree.Entry{}, "", fmt.Errorf("read %s: %d bytes is too long", p, e.Size())
	}
	data, err := tree.ReadAll(e.Blob)
	if err != nil {
		return tree.Entry{}, "", fmt.Errorf("read %s: %w", p, err)
	}
	return e, string(data), nil
}

func (s *set) isBuiltin(name string) bool { return s.builtin[name] }

// module returns what a module says of itself.
func (s *set) module(name string) (*Module, error) {
	o, err := s.load(name)
	if err != nil {
		return nil, err
	}
	return &o.Module, nil
}

// load unpacks a module, once.
func (s *set) load(name string) (*object, error) {
	if o := s.loaded[name]; o != nil {
		return o, nil
	}
	f, ok := s.byName[name]
	if !ok {
		return nil, &UnknownError{Name: name, Release: s.release, Near: nearest(name, s.names())}
	}
	o, err := f.open()
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", f.rel, err)
	}
	s.loaded[name] = o
	return o, nil
}

// open unpacks and parses the file.
func (f modFile) open() (*object, error) {
	data, err := inflate(f.blob, f.suffix)
	if err != nil {
		return nil, err
	}
	m, err := parse(data)
	if err != nil {
		return nil, err
	}
	m.Name, m.Path = f.name, f.unpacked()
	return &object{m, data}, nil
}

// provide returns the names of the modules that a soft dependency, a name or
// an alias, stands for; none when the kernel itself provides it.
func (s *set) provide(wanted string) ([]string, error) {
	name := normalize(wanted)
	if _, ok := s.byName[name]; ok {
		return []string{name}, nil
	}
	if s.builtin[name] || s.builtinAliases[name] || strings.Contains(wanted, ":") {
		return nil, nil
	}
	if s.algorithms == nil {
		if err := s.readAlgorithms(); err != nil {
			return nil, err
		}
	}
	return s.algorithms[name], nil
}

// readAlgorithms unpacks the modules that hold code rather than drivers, to
// know their aliases.
func (s *set) readAlgorithms() error {
	s.algorithms = map[string][]string{}
	for _, f := range s.files {
		if !isCode(f.rel) {
			continue
		}
		m, err := s.module(f.name)
		if err != nil {
			return err
		}
		for _, alias := range m.Aliases {
			alias = normalize(alias)
			s.algorithms[alias] = append(s.algorithms[alias], f.name)
		}
	}
	return nil
}

func isCode(rel string) bool {
	below := strings.TrimPrefix(rel, "kernel/")
	for _, dir := range []string{"crypto/", "arch/", "lib/"} {
		if strings.HasPrefix(below, dir) {
			return true
		}
	}
	return false
}

// inflate unpacks a module's file.
func inflate(b tree.Blob, suffix string) ([]byte, error) {
	packed, err := b.Open()
	if err != nil {
		return nil, err
	}
	defer packed.Close()
	z, err := decompress.Open(suffix, packed)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return readAll(decompress.Limit(z, maxModule), int(min(b.Size()*4, maxModule)))
}
