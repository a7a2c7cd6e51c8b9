// Package initramfs turns a recipe and its lock into the file trees of an image: what its kernel finds in memory when
// it boots, in layers that change at different times, and for a host the whole root filesystem.
//
// It reads only packages that the lock names, from the store, and compiles the busybox from picolab's own source tree.
// Nothing is executed but the go command: maintainer scripts never run.
package initramfs

import (
	"context"

	"golang.org/x/sync/errgroup"

	"picolab/initramfs/bb"
	"picolab/initramfs/deb"
	"picolab/initramfs/tree"
	"picolab/recipes"
	"picolab/recipes/fetch"
	"picolab/recipes/lock"
)

// Options says where things are.
type Options struct {
	Store     *fetch.Store // holds every package of the lock
	Derived   string       // directory for what can be made again: unpacked packages, busyboxes
	ModuleDir string       // picolab's source tree, see bb.FindModule
	GoCache   string       // GOCACHE of the busybox; "" leaves the environment's
	Offline   bool         // the go command must not fetch modules
	Progress  func(string) // told what takes long, may be nil
}

// Layers are the trees of an image. Base, Modules and Payload go into memory at boot, in this order; the last one is
// the busybox, so that a change to a command rewrites the smallest part.
type Layers struct {
	Base, Modules, Payload *tree.Tree
	Kernel                 tree.Blob
	KernelRelease          string
	Root                   *tree.Tree // root filesystem, host recipes only; without kernel modules, the machine at hand has its own
	RootModules            *tree.Tree // what comes to it when the host boots on its own kernel; nil when it does not
	Packages               []Package  // in the lock's order
	Busybox                *bb.Busybox
	boot                   *bb.Busybox // of Payload: all of Busybox, or the few commands that an appliance boots with
}

// Package is a Debian package of the image.
type Package struct {
	lock.Package
	Control deb.Control
}

// Busybox builds the recipe's commands; see bb.Build.
func Busybox(ctx context.Context, r *recipes.Recipe, opt Options) (*bb.Busybox, error) {
	return busybox(ctx, r.Commands, opt)
}

// addBusyboxes builds the one of the image and the one it boots with, which may be the same.
func (l *Layers) addBusyboxes(ctx context.Context, r *recipes.Recipe, opt Options) (err error) {
	if l.Busybox, err = busybox(ctx, r.Commands, opt); err != nil {
		return err
	}
	l.boot, err = busybox(ctx, r.BootCommands(), opt)
	return err
}

func busybox(ctx context.Context, commands []string, opt Options) (*bb.Busybox, error) {
	return bb.Build(ctx, bb.Options{
		Commands:  commands,
		ModuleDir: opt.ModuleDir,
		Cache:     opt.Derived,
		GoCache:   opt.GoCache,
		Offline:   opt.Offline,
		Progress:  opt.Progress,
	})
}

// Build makes the layers of r from the packages of l. It compiles and unpacks at the same time. The error is that of
// the first step that failed; a package missing from the store is one.
func Build(ctx context.Context, r *recipes.Recipe, l *lock.Lock, opt Options) (*Layers, error) {
	out := new(Layers)
	var pk *unpacked
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return out.addBusyboxes(gctx, r, opt) })
	g.Go(func() (err error) { pk, err = unpack(gctx, l, opt); return err })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out.Packages = pk.packages
	here, err := openLocals(r, l, opt)
	if err != nil {
		return nil, err
	}
	for _, step := range []func() error{
		func() error { return out.addKernel(ctx, r, pk, here) },
		func() error { return out.addBase(r, l, pk.root, here) },
		func() error { return out.addPayload(r) },
		func() error { return out.addRoot(r, l, pk, here) },
	} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := step(); err != nil {
			return nil, err
		}
	}
	return out, nil
}
