package initramfs

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"picolab/initramfs/deb"
	"picolab/initramfs/tree"
	"picolab/recipes/fetch"
	"picolab/recipes/lock"
)

// unpacked is the contents of the lock's packages.
type unpacked struct {
	kernel, firmware, root *tree.Tree
	packages               []Package
}

// unpack reads every package of l. Two packages that want one path for different contents are an error, as dpkg has it.
func unpack(ctx context.Context, l *lock.Lock, opt Options) (*unpacked, error) {
	u := &unpacked{kernel: tree.New(), firmware: tree.New(), root: tree.New()}
	trees, packages, err := Unpack(ctx, l, opt)
	if err != nil {
		return nil, err
	}
	u.packages = packages
	return u, u.merge(trees)
}

// Unpack reads every package of l, as many at a time as there are CPUs, each into a tree of its own.
func Unpack(ctx context.Context, l *lock.Lock, opt Options) ([]*tree.Tree, []Package, error) {
	cache, err := deb.OpenCache(filepath.Join(opt.Derived, "packages"))
	if err != nil {
		return nil, nil, err
	}
	if opt.Progress != nil {
		opt.Progress(fmt.Sprintf("reading %d packages", len(l.Packages)))
	}
	trees := make([]*tree.Tree, len(l.Packages))
	packages := make([]Package, len(l.Packages))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, p := range l.Packages {
		g.Go(func() error {
			trees[i] = tree.New()
			control, err := unpackOne(ctx, cache, opt.Store, p, trees[i])
			packages[i] = Package{p, control}
			return err
		})
	}
	return trees, packages, g.Wait()
}

// merge joins the packages' trees in the lock's order, so that a conflict always names the same two.
func (u *unpacked) merge(trees []*tree.Tree) error {
	for i, t := range trees {
		into := u.root
		switch u.packages[i].Role {
		case lock.RoleKernel:
			into = u.kernel
		case lock.RoleFirmware:
			into = u.firmware
		}
		if err := into.Merge(t); err != nil {
			return fmt.Errorf("package %s %s: %w", u.packages[i].Name, u.packages[i].Version, err)
		}
	}
	return nil
}

func unpackOne(ctx context.Context, cache *deb.Cache, store *fetch.Store, p lock.Package, into *tree.Tree) (deb.Control, error) {
	f, err := store.Blob(p.SHA256)
	if err != nil {
		return deb.Control{}, fmt.Errorf("package %s %s: %w", p.Name, p.Version, err)
	}
	defer f.Close()
	opt := deb.Options{UsrMerge: true, Keep: keep, KeepName: keepName}
	control, err := cache.Unpack(ctx, f, p.Size, p.SHA256, p.Name, into, opt)
	if err != nil {
		return control, fmt.Errorf("package %s %s: %w", p.Name, p.Version, err)
	}
	return control, nil
}

// keepName names keep's answer; change it with the answer.
const keepName = "no documentation 1"

// keep leaves out what no lab reads: manual pages, translations, examples. Copyright files stay, the licences ask for it.
func keep(path string) bool {
	switch {
	case strings.HasPrefix(path, "usr/share/doc/"):
		return strings.HasSuffix(path, "/copyright")
	case strings.HasPrefix(path, "usr/share/man/"),
		strings.HasPrefix(path, "usr/share/info/"),
		strings.HasPrefix(path, "usr/share/locale/"),
		strings.HasPrefix(path, "usr/share/lintian/"),
		strings.HasPrefix(path, "usr/share/bug/"):
		return false
	}
	return true
}
