package initramfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"picolab/initramfs/kmod"
	"picolab/initramfs/tree"
	"picolab/recipes"
)

// addKernel takes the kernel, and the modules that the recipe names with all they depend on and the firmware they ask for.
func (l *Layers) addKernel(ctx context.Context, r *recipes.Recipe, pk *unpacked, here *locals) error {
	l.Modules = tree.New()
	if !r.HasKernel() {
		return nil
	}
	if err := l.stageKernel(ctx, r, pk, here); err != nil {
		return fmt.Errorf("kernel %s: %w", cmp.Or(r.Kernel.Package, r.Kernel.Image.Path), err)
	}
	to := l.Modules
	if l.RootModules != nil {
		to = l.RootModules
	}
	return put(to, "etc/picolab/modules", lines(r.Kernel.Load))
}

func (l *Layers) stageKernel(ctx context.Context, r *recipes.Recipe, pk *unpacked, here *locals) (err error) {
	var pkg *tree.Tree
	if l.Kernel, l.KernelRelease, pkg, err = openKernel(r, pk.kernel, here); err != nil || pkg == nil {
		return err
	}
	extra, err := addExtra(ctx, pkg, l.KernelRelease, r, here)
	if err != nil {
		return err
	}
	want := slices.Concat(r.Kernel.Load, r.Boot.Modules, r.Kernel.Modules, extra)
	if err := pk.chooseFirmware(pkg, want); err != nil {
		return err
	}
	if r.Appliance() {
		return l.splitModules(pkg, r, want)
	}
	if l.Modules, err = kmod.Stage(pkg, want, modulesDir(r)); err != nil {
		return err
	}
	return l.Modules.Merge(moved(pk.firmware, strings.TrimSuffix(modulesDir(r), "modules")+"firmware/"))
}

// splitModules puts what finds the root file system into memory, and everything into that.
func (l *Layers) splitModules(pkg *tree.Tree, r *recipes.Recipe, want []string) (err error) {
	if l.Modules, err = kmod.Stage(pkg, r.Boot.Modules, modulesDir(r)); err != nil {
		return err
	}
	l.RootModules, err = kmod.Stage(pkg, want, "usr/lib/modules")
	return err
}

// chooseFirmware leaves of the firmware packages what the modules ask for.
func (u *unpacked) chooseFirmware(kernel *tree.Tree, want []string) error {
	if u.firmware.Len() == 0 {
		return nil
	}
	modules, err := kmod.Closure(kernel, want)
	if err != nil {
		return err
	}
	u.firmware, err = chooseFirmware(u.firmware, modules)
	return err
}

// openKernel finds the kernel and its files: those of the package, or those of this machine. Without any modules the tree
// is nil.
func openKernel(r *recipes.Recipe, pkg *tree.Tree, here *locals) (image tree.Blob, release string, t *tree.Tree, err error) {
	if r.Kernel.Package != "" {
		if release, err = kmod.Release(pkg); err != nil {
			return nil, "", nil, err
		}
		image, err = kernelImage(pkg, release)
		return image, release, pkg, err
	}
	if image, err = here.blob("kernel.image"); err != nil {
		return nil, "", nil, err
	}
	if release, err = imageRelease(image); err != nil || r.Kernel.Tree.Path == "" {
		return image, release, nil, err
	}
	if t, err = here.folder("kernel.tree"); err != nil {
		return nil, "", nil, err
	}
	switch of, err := kmod.Release(t); {
	case err != nil:
		return nil, "", nil, fmt.Errorf("%s: %w", r.Kernel.Tree.Path, err)
	case of != release:
		return nil, "", nil, fmt.Errorf("the image is of release %s, the modules in %s are of %s", release, r.Kernel.Tree.Path, of)
	}
	return image, release, t, nil
}

func kernelImage(pkg *tree.Tree, release string) (tree.Blob, error) {
	for _, p := range []string{"boot/vmlinuz-" + release, "usr/lib/modules/" + release + "/vmlinuz"} { // until, and since Debian 14
		if e, ok := pkg.Get(p); ok && e.Blob != nil {
			return e.Blob, nil
		}
	}
	return nil, errors.New("no boot/vmlinuz-" + release + " in the package")
}

// lines is a text with one line for each of list.
func lines(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return strings.Join(list, "\n") + "\n"
}
