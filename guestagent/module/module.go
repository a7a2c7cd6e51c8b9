// Package module loads and unloads kernel modules from a modules folder as depmod(8) describes it: modules.dep for the
// order, modules.alias for devices, modules.builtin for what needs no loading. Module files are uncompressed.
package module

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Set is the modules of one kernel.
type Set struct {
	dir string

	files   map[string]string   // name -> path below dir
	deps    map[string][]string // name -> names it needs
	builtin map[string]bool
	aliases []alias
	params  map[string][]string // of the kernel's command line
}

type alias struct {
	pattern, name string
}

// Open reads the index of the kernel release below root: lib/modules or usr/lib/modules. A kernel without a folder gives
// an empty set, so that everything but built-in modules is not found; what could be read is there with an error, too.
func Open(root, release string) (*Set, error) {
	s := &Set{files: map[string]string{}, deps: map[string][]string{}, builtin: map[string]bool{}}
	for _, d := range []string{"lib/modules", "usr/lib/modules"} {
		s.dir = filepath.Join(root, d, release)
		if _, err := os.Stat(s.dir); err == nil {
			break
		}
	}
	for name, add := range map[string]func(string){"modules.dep": s.addDep, "modules.alias": s.addAlias, "modules.builtin": s.addBuiltin} {
		if err := lines(filepath.Join(s.dir, name), add); err != nil {
			return s, fmt.Errorf("read module index: %w", err)
		}
	}
	return s, nil
}

// lines calls add for each line of a file that may be absent.
func lines(name string, add func(string)) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return eachLine(f, add)
}

func eachLine(r io.Reader, add func(string)) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		add(sc.Text())
	}
	return sc.Err()
}

// addDep takes "kernel/a.ko: kernel/b.ko kernel/c.ko".
func (s *Set) addDep(line string) {
	file, deps, ok := strings.Cut(line, ":")
	if !ok {
		return
	}
	name := Name(file)
	s.files[name] = file
	for _, d := range strings.Fields(deps) {
		s.deps[name] = append(s.deps[name], Name(d))
	}
}

// addAlias takes "alias pci:v00008086d* e1000".
func (s *Set) addAlias(line string) {
	f := strings.Fields(line)
	if len(f) == 3 && f[0] == "alias" {
		s.aliases = append(s.aliases, alias{pattern: f[1], name: Name(f[2])})
	}
}

func (s *Set) addBuiltin(line string) { s.builtin[Name(line)] = true }

// Name is a module's name as the kernel writes it, from a path or a name written with dashes.
func Name(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(path.Base(strings.TrimSpace(file)), ".ko"), "-", "_")
}

// Configure takes the parameters of modules that are on the kernel's command line, name.parameter=value, as modprobe(8)
// does. The kernel itself sees to those of what is built in. A value in quotes may not have spaces. It comes before any Load.
func (s *Set) Configure(cmdline string) {
	s.params = make(map[string][]string)
	for _, word := range strings.Fields(cmdline) {
		key, value, valued := strings.Cut(word, "=")
		name, param, ok := strings.Cut(key, ".")
		if !ok {
			continue
		}
		if valued {
			param += "=" + value
		}
		s.params[Name(name)] = append(s.params[Name(name)], param)
	}
}

// Load loads a module after what it depends on; params are key=value. One that is loaded or built in is not an error;
// an unknown one is fs.ErrNotExist. A name may also be an alias.
func (s *Set) Load(name string, params ...string) error {
	_, err := s.load(name, params)
	return err
}

// load says which modules were new. Several may load at once: the kernel lets those that need a module wait for it.
func (s *Set) load(name string, params []string) (loaded []string, err error) {
	order, err := s.order(name)
	if err != nil {
		return nil, err
	}
	for i, n := range order {
		if live(n) {
			continue
		}
		p := s.params[n]
		if i == len(order)-1 {
			p = slices.Concat(p, params)
		}
		isNew, err := insert(filepath.Join(s.dir, s.files[n]), p)
		if err != nil {
			return loaded, fmt.Errorf("load module %s: %w", n, err)
		}
		if isNew {
			loaded = append(loaded, n)
		}
	}
	return loaded, nil
}

// order lists the modules behind a name or alias, each after what it depends on, without the built-in ones.
func (s *Set) order(name string) ([]string, error) {
	names := []string{Name(name)}
	if _, ok := s.files[names[0]]; !ok && !s.builtin[names[0]] {
		names = s.match(name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("load module %s: %w", name, fs.ErrNotExist)
	}
	var order []string
	seen := make(map[string]bool) // also cuts cycles that a broken index may have
	for _, n := range names {
		order = s.appendTree(order, n, seen)
	}
	return order, nil
}

func (s *Set) appendTree(order []string, name string, seen map[string]bool) []string {
	if seen[name] || s.builtin[name] {
		return order
	}
	seen[name] = true
	for _, d := range s.deps[name] {
		order = s.appendTree(order, d, seen)
	}
	return append(order, name)
}

// live says whether a module is loaded: only loadable ones have a state. One that is coming is not; to insert it too is to
// wait for it.
func live(name string) bool {
	state, err := os.ReadFile("/sys/module/" + name + "/initstate")
	return err == nil && string(state) == "live\n"
}

// insert is finit_module(2); false when the module is there already.
func insert(file string, params []string) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), strings.Join(params, " "), 0)
	if errors.Is(err, unix.EEXIST) {
		return false, nil
	}
	return err == nil, err
}

// Unload is delete_module(2): EBUSY when something uses the module, ENOENT when it is not loaded.
func (s *Set) Unload(name string) error {
	n := Name(name)
	if err := unix.DeleteModule(n, unix.O_NONBLOCK); err != nil {
		return fmt.Errorf("unload module %s: %w", n, err)
	}
	return nil
}
