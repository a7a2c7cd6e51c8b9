package initramfs

import (
	"context"

	"picolab/initramfs/tree"
	"picolab/recipes"
	"picolab/recipes/lock"
)

// Kernel is a recipe's kernel with all its modules, before any are chosen.
type Kernel struct {
	Image   tree.Blob
	Release string
	Tree    *tree.Tree // nil when there are no modules at all
	Extra   []string   // names of the modules that kernel.extra adds
}

// OpenKernel reads the kernel of a recipe, nil for one without. packages is the content of the lock's kernel packages.
func OpenKernel(ctx context.Context, r *recipes.Recipe, l *lock.Lock, packages *tree.Tree, opt Options) (*Kernel, error) {
	if !r.HasKernel() {
		return nil, nil
	}
	here, err := openLocals(r, l, opt)
	if err != nil {
		return nil, err
	}
	k := new(Kernel)
	if k.Image, k.Release, k.Tree, err = openKernel(r, packages, here); err != nil || k.Tree == nil {
		return k, err
	}
	k.Extra, err = addExtra(ctx, k.Tree, k.Release, r, here)
	return k, err
}
