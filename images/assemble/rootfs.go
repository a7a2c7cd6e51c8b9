package assemble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"picolab/images/manifest"
	"picolab/initramfs/tree"
)

// writeRoot unpacks the root filesystem, as any user: owners and device nodes are left out, see tree.WriteDir.
func (w *writer) writeRoot(ctx context.Context, t *tree.Tree) (*manifest.RootFS, error) {
	t = t.Unprivileged()
	w.progress("writing the root filesystem: %d entries", t.Len())
	dir := filepath.Join(w.dir, rootDir)
	if err := t.WriteDir(ctx, dir, tree.WriteOptions{}); err != nil {
		return nil, fmt.Errorf("root filesystem: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // its own mode is not an entry of the tree
		return nil, err
	}
	w.stamp.Root = glance(dir)
	return &manifest.RootFS{Name: rootDir, SHA256: fmt.Sprintf("%x", t.Digest()), Entries: t.Len()}, nil
}

// readRoot reads a root filesystem back from disk. Owners are not compared: they are the builder's.
func readRoot(ctx context.Context, root string) (*tree.Tree, error) {
	t := tree.New()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return errors.Join(err, ctx.Err())
		}
		e, err := diskEntry(path, d)
		if err != nil {
			return err
		}
		return t.Put(path[len(root)+1:], e)
	})
	if err != nil {
		return nil, fmt.Errorf("read root filesystem: %w", err)
	}
	return t, nil
}

func diskEntry(path string, d fs.DirEntry) (tree.Entry, error) {
	info, err := d.Info()
	if err != nil {
		return tree.Entry{}, err
	}
	perm := uint32(info.Mode().Perm())
	if info.Mode()&fs.ModeSticky != 0 {
		perm |= 0o1000
	}
	switch info.Mode().Type() {
	case fs.ModeDir:
		return tree.Dir(perm), nil
	case fs.ModeSymlink:
		target, err := os.Readlink(path)
		return tree.Symlink(target), err
	case 0:
		blob, err := tree.OpenFile(path)
		return tree.Regular(perm, blob), err
	}
	return tree.Entry{}, fmt.Errorf("%s: a %s is not of the builder's making", path, info.Mode().Type())
}
