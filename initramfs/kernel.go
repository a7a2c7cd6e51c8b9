package initramfs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"picolab/initramfs/kmod"
	"picolab/initramfs/tree"
	"picolab/recipes"
)

// addKernel takes the kernel, and the modules that the recipe names with all they depend on.
func (l *Layers) addKernel(r *recipes.Recipe, pkg *tree.Tree) error {
	l.Modules = tree.New()
	if r.Kernel.Package == "" {
		return nil
	}
	var err error
	if l.KernelRelease, err = kmod.Release(pkg); err != nil {
		return fmt.Errorf("kernel %s: %w", r.Kernel.Package, err)
	}
	if l.Kernel, err = kernelImage(pkg, l.KernelRelease); err != nil {
		return fmt.Errorf("kernel %s: %w", r.Kernel.Package, err)
	}
	want := slices.Concat(r.Kernel.Load, r.Kernel.Modules)
	if l.Modules, err = kmod.Stage(pkg, want, "lib/modules"); err != nil {
		return fmt.Errorf("kernel %s: %w", r.Kernel.Package, err)
	}
	return put(l.Modules, "etc/picolab/modules", lines(r.Kernel.Load))
}

func kernelImage(pkg *tree.Tree, release string) (tree.Blob, error) {
	e, ok := pkg.Get("boot/vmlinuz-" + release)
	if !ok || e.Blob == nil {
		return nil, errors.New("no boot/vmlinuz-" + release + " in the package")
	}
	return e.Blob, nil
}

// lines is a text with one line for each of list.
func lines(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return strings.Join(list, "\n") + "\n"
}
