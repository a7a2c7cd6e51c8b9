package initramfs

import (
	"errors"
	"fmt"

	"picolab/initramfs/bb"
	"picolab/initramfs/tree"
	"picolab/recipes"
	"picolab/recipes/lock"
)

// kindHost is the recipe kind that has a root filesystem.
const kindHost = "host"

// merged are the links that make a root of the merged /usr kind.
var merged = []string{"bin", "lib", "lib64", "sbin"}

// addRoot makes the root filesystem of a host: its packages, the busybox, the recipe's files. Kernel modules are not in
// it: a lab in a container runs on the kernel that is there.
func (l *Layers) addRoot(r *recipes.Recipe, lk *lock.Lock, packages *unpacked, here *locals) error {
	if r.Kind != kindHost {
		return nil
	}
	root := packages.root
	if len(r.Drop) > 0 {
		root = root.Filter(func(path string) bool { return !r.Drops(path) })
	}
	if err := root.Merge(moved(packages.firmware, "usr/lib/firmware/")); err != nil {
		return err
	}
	for _, dir := range merged {
		if err := mergeLink(root, dir); err != nil {
			return err
		}
	}
	if err := putDirs(root); err != nil {
		return err
	}
	if err := putIdentity(root, r, lk); err != nil {
		return err
	}
	if err := putFiles(root, r.Files, here); err != nil {
		return err
	}
	box, err := commands(l.Busybox, r.Init)
	if err == nil {
		err = root.Merge(box)
	}
	if err != nil {
		return err
	}
	l.Root = root
	return errors.Join(l.addShell(), l.addInit(r))
}

// addInit makes an appliance's agent the first process of its root, too.
func (l *Layers) addInit(r *recipes.Recipe) error {
	if !r.Appliance() {
		return nil
	}
	return l.Root.Put("init", tree.Symlink(bb.Dir+"/"+r.Init).From(source))
}

// mergeLink makes dir a link into usr, where packages have put its contents.
func mergeLink(root *tree.Tree, dir string) error {
	if e, ok := root.Get(dir); ok && !e.IsSymlink() {
		return fmt.Errorf("%s of %s is not below usr: the packages are older than merged /usr", dir, e.Source)
	}
	root.Remove(dir) // base-files' own link may be absolute
	if err := root.Put("usr/"+dir, tree.Dir(0o755).From(source)); err != nil {
		return err
	}
	return root.Put(dir, tree.Symlink("usr/"+dir).From(source))
}

// addShell gives a root without a Debian shell the busybox's.
func (l *Layers) addShell() error {
	if _, ok := l.Root.Get("usr/bin/sh"); ok {
		return nil
	}
	if _, ok := l.Root.Get(bb.Dir + "/sh"); !ok {
		return nil
	}
	return l.Root.Put("usr/bin/sh", tree.Symlink("../../"+bb.Dir+"/gosh").From(source))
}
