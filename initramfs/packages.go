package initramfs

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"picolab/initramfs/deb"
	"picolab/initramfs/tree"
	"picolab/recipes/fetch"
	"picolab/recipes/lock"
)

// unpacked is the contents of the lock's packages.
type unpacked struct {
	kernel, root *tree.Tree
	packages     []Package
}

// unpack reads every package of l. Two packages that want one path for different contents are an error, as dpkg has it.
func unpack(ctx context.Context, l *lock.Lock, opt Options) (*unpacked, error) {
	cache, err := deb.OpenCache(filepath.Join(opt.Derived, "packages"))
	if err != nil {
		return nil, err
	}
	u := &unpacked{kernel: tree.New(), root: tree.New()}
	if opt.Progress != nil {
		opt.Progress(fmt.Sprintf("reading %d packages", len(l.Packages)))
	}
	for _, p := range l.Packages {
		into := u.root
		if p.Role == lock.RoleKernel {
			into = u.kernel
		}
		control, err := unpackOne(ctx, cache, opt.Store, p, into)
		if err != nil {
			return nil, err
		}
		u.packages = append(u.packages, Package{p, control})
	}
	return u, nil
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
