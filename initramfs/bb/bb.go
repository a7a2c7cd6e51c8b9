// Package bb builds the busybox of an image: one static Go binary that is every command the recipe names, u-root's
// and picolab's own, chosen by the name it is called by.
//
// Commands of other modules are rewritten from programs to packages by gobusybox; our own, whose mains are one call,
// are renamed in place (see command.go). All of it is compiled by one `go build` in module mode, with the rewritten
// files laid over the source tree by -overlay. Against gobusybox's own way, a GOPATH with a copy of every dependency,
// this keeps the language version and GODEBUG defaults of each go.mod, records the modules in the binary (the SBOM
// reads them there), works for a module path without a dot, and needs no copy: a warm build takes seconds.
//
// The binary depends on the Go version, go.mod, go.sum, and the sources; not on the folder, the user, or the caches.
package bb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/mod/modfile"

	"picolab/initramfs/tree"
)

// Module is the path of the module whose source tree the busybox is built in.
const Module = "picolab"

// Dir is where the commands are in the image.
const Dir = "bbin"

// binary is the name of the one file in Dir that is not a link.
const binary = "bb"

// Options says what to build.
type Options struct {
	Commands  []string     // import paths of main packages; the last element is the command's name
	ModuleDir string       // root of picolab's source tree, see FindModule
	Cache     string       // directory for results and generated sources, made when missing
	GoCache   string       // GOCACHE of the compilation; "" leaves the environment's
	Offline   bool         // do not let the go command fetch modules
	Progress  func(string) // told what takes long, may be nil
}

// Busybox is a built busybox.
type Busybox struct {
	Tree      *tree.Tree   // bbin/bb, and bbin/NAME -> bb for each command
	SHA256    string       // of bbin/bb, hex
	GoVersion string       // the toolchain's, "go1.26.0"
	Modules   []Dependency // what is compiled in, sorted by path
	Cached    bool         // nothing had to be compiled
}

// Dependency is a Go module that is compiled into the busybox.
type Dependency struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Sum     string `json:"sum"` // go.sum's, "h1:" and base64
}

// SourceError says that the source tree is not where the builder looked.
type SourceError struct{ Dir string }

func (e *SourceError) Error() string {
	return fmt.Sprintf("find picolab's source tree: no go.mod of module %s in %s or above; "+
		"run inside the tree, or name it with --source DIR or PICOLAB_SOURCE", Module, e.Dir)
}

// FindModule returns the root of picolab's source tree that dir is in. The error is a *SourceError when there is none.
func FindModule(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find picolab's source tree: %w", err)
	}
	for d := abs; ; d = filepath.Dir(d) {
		data, err := os.ReadFile(filepath.Join(d, "go.mod"))
		if err == nil && modfile.ModulePath(data) == Module {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", &SourceError{abs}
		}
	}
}

// Build returns the busybox of opt.Commands, from the cache when no source changed since it was built.
func Build(ctx context.Context, opt Options) (*Busybox, error) {
	b, err := newBuilder(ctx, opt)
	if err != nil {
		return nil, fmt.Errorf("build busybox: %w", err)
	}
	box, err := b.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("build busybox: %w", err)
	}
	return box, nil
}

// builder holds what the steps of one Build share.
type builder struct {
	Options
	go_    toolchain
	own    []string // import paths in our module
	other  []string // import paths elsewhere: gobusybox's share
	sums   []byte   // go.mod and go.sum
	source *closure
}

func newBuilder(ctx context.Context, opt Options) (*builder, error) {
	dir, err := FindModule(opt.ModuleDir)
	if err != nil {
		return nil, err
	}
	opt.ModuleDir = dir
	if opt.Cache, err = filepath.Abs(opt.Cache); err != nil { // the go command runs elsewhere
		return nil, err
	}
	b := &builder{Options: opt}
	if err := b.sortCommands(); err != nil {
		return nil, err
	}
	if b.go_, err = findToolchain(ctx, dir); err != nil {
		return nil, err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		b.sums = append(b.sums, data...)
	}
	b.source, err = sourceClosure(dir, b.own)
	return b, err
}

// sortCommands splits the commands by who rewrites them, and refuses two of one name.
func (b *builder) sortCommands() error {
	if len(b.Commands) == 0 {
		return errors.New("the recipe names no commands")
	}
	seen := map[string]string{binary: "the busybox itself"}
	for _, c := range slices.Compact(slices.Sorted(slices.Values(b.Commands))) {
		name := path.Base(c)
		if other, ok := seen[name]; ok {
			return fmt.Errorf("two commands are called %s: %s and %s", name, other, c)
		}
		seen[name] = c
		if ours(c) {
			b.own = append(b.own, c)
		} else {
			b.other = append(b.other, c)
		}
	}
	return nil
}

func (b *builder) commands() []string {
	return slices.Sorted(slices.Values(slices.Concat(b.own, b.other)))
}

func (b *builder) progress(format string, args ...any) {
	if b.Progress != nil {
		b.Progress(fmt.Sprintf(format, args...))
	}
}

// run looks the result up, or makes it.
func (b *builder) run(ctx context.Context) (*Busybox, error) {
	entry := filepath.Join(b.Cache, "busybox", b.key())
	box, err := b.load(entry)
	if err == nil {
		box.Cached = true
		return box, nil
	}
	b.progress("compiling the busybox: %d commands", len(b.own)+len(b.other))
	err = publish(entry, func(tmp string) error { return b.compile(ctx, tmp) })
	if err != nil {
		return nil, err
	}
	prune(filepath.Dir(entry), keep)
	return b.load(entry)
}
