// Package assemble puts an image together on disk: kernel, initramfs segments, bill of materials, manifest, and for a
// host the unpacked root filesystem.
//
// An image appears under its name complete or not at all: it is built in a directory beside it and the two change
// places in one step. Files that did not change are kept. The bytes depend on the recipe, the lock and picolab's
// sources alone, not on the user, folder, umask, time or locale.
package assemble

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"picolab/images/manifest"
	"picolab/initramfs"
	"picolab/recipes"
	"picolab/recipes/fetch"
	"picolab/recipes/lock"
)

// Names of an image's files.
const (
	kernelFile = "vmlinuz"
	sbomFile   = "sbom.spdx.json"
	rootDir    = "root"
)

// Options says what to build, from what, and where to.
type Options struct {
	Recipe    *recipes.Recipe
	Lock      *lock.Lock // made for Recipe; every package of it is in Store
	Store     *fetch.Store
	Carried   []*manifest.Manifest // images that an appliance's root file system has, read from their directories
	Output    string               // the image's directory; its parent must be writable
	ModuleDir string               // picolab's source tree
	Derived   string               // cache of what can be made again; "" is the store's
	GoCache   string               // GOCACHE of the busybox; "" leaves the environment's
	Offline   bool                 // the go command must not fetch modules
	Progress  func(string)
}

// Result is what a build did.
type Result struct {
	Manifest *manifest.Manifest
	Fresh    bool // the image was there already, unchanged
}

// Image builds the image. Two builds of one directory at once wait for each other. The error is a *SizeError when a
// limit of the recipe is passed, a *NotImageError when Output holds something else; nothing has changed then.
func Image(ctx context.Context, opt Options) (*Result, error) {
	res, err := build(ctx, opt)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", opt.Recipe.Name, err)
	}
	return res, nil
}

func build(ctx context.Context, opt Options) (*Result, error) {
	if err := opt.resolve(); err != nil {
		return nil, err
	}
	place, err := openPlace(ctx, opt.Output, opt.Progress)
	if err != nil {
		return nil, err
	}
	defer place.close()
	box, err := initramfs.Busybox(ctx, opt.Recipe, opt.layers())
	if err != nil {
		return nil, err
	}
	inputs, err := opt.inputs(box)
	if err != nil {
		return nil, err
	}
	old := readStamp(opt.Output, inputs.Program)
	if m := old.upToDate(opt.Output, inputs.Inputs); m != nil {
		return &Result{m, true}, nil
	}
	layers, err := initramfs.Build(ctx, opt.Recipe, opt.Lock, opt.layers())
	if err != nil {
		return nil, err
	}
	w := &writer{Options: opt, layers: layers, old: old, stamp: inputs}
	if err := place.replace(func(dir string) error { return w.write(ctx, dir) }); err != nil {
		return nil, err
	}
	m, err := manifest.Read(opt.Output)
	return &Result{m, false}, err
}

// resolve makes paths absolute and fills in defaults.
func (o *Options) resolve() error {
	if o.Output == "" {
		return errors.New("no output directory given")
	}
	out, err := filepath.Abs(o.Output)
	if err != nil {
		return err
	}
	if link, err := filepath.EvalSymlinks(out); err == nil { // the image changes places, a link to it does not
		out = link
	}
	o.Output = out
	if o.Derived == "" {
		if o.Derived, err = o.Store.Dir("derived"); err != nil {
			return err
		}
	}
	return os.MkdirAll(filepath.Dir(out), 0o755)
}

func (o *Options) layers() initramfs.Options {
	return initramfs.Options{Store: o.Store, Derived: o.Derived, ModuleDir: o.ModuleDir, GoCache: o.GoCache, Offline: o.Offline, Progress: o.Progress}
}

func (o *Options) progress(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}
