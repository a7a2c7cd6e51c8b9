package assemble

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"picolab/images/manifest"
	"picolab/initramfs/squash"
	"picolab/initramfs/tree"
)

// rootFile is an appliance's root file system: what its kernel mounts when it boots.
const rootFile = "root.squashfs"

// carriedDir is where a host has the images that it carries.
const carriedDir = "usr/share/picolab/images"

// keepRoots is how many root file systems stay in the cache.
const keepRoots = 4

// rootFile makes the file, or takes it from the cache. It comes after the unpacked root, whose mksquashfs packs it.
func (w *writer) rootFile(ctx context.Context) error {
	if w.layers.RootModules == nil {
		return nil
	}
	t, err := w.wholeRoot()
	if err != nil {
		return fmt.Errorf("root file system: %w", err)
	}
	key, err := w.rootKey(t)
	if err != nil {
		return err
	}
	made, err := w.cachedRoot(ctx, t, key)
	if err != nil {
		return err
	}
	return w.linked(ctx, rootFile, manifest.RoleRoot, "root "+key, made)
}

// wholeRoot is the unpacked root with what only a machine of its own needs.
func (w *writer) wholeRoot() (*tree.Tree, error) {
	t := w.layers.Root.Clone()
	if err := t.Merge(w.layers.RootModules); err != nil {
		return nil, err
	}
	for _, c := range w.Carried {
		if err := carry(t, c); err != nil {
			return nil, fmt.Errorf("image %s: %w", c.Name, err)
		}
	}
	return t, nil
}

// carry puts an image into the tree.
func carry(t *tree.Tree, m *manifest.Manifest) error {
	dir := carriedDir + "/" + m.Name + "/"
	if err := t.Put(dir+manifest.Name, tree.Regular(0o644, tree.Bytes(m.Encode()))); err != nil {
		return err
	}
	for _, f := range m.Files {
		sum, err := hex.DecodeString(f.SHA256)
		if err != nil {
			return err
		}
		blob := tree.File(filepath.Join(m.Dir(), f.Name), f.Size, [32]byte(sum))
		if err := t.Put(dir+f.Name, tree.Regular(0o644, blob)); err != nil {
			return err
		}
	}
	return nil
}

// rootKey names the bytes that come out: what is packed, by what program, and how.
func (w *writer) rootKey(t *tree.Tree) (string, error) {
	packer := t.Filter(func(path string) bool {
		return path == "usr/bin/mksquashfs" || strings.HasPrefix(path, "usr/lib/x86_64-linux-gnu/lib")
	})
	return digestOf(fmt.Sprintf("%x %x %d %s", t.Digest(), packer.Digest(), w.Lock.Epoch, squash.Settings)), nil
}

// cachedRoot returns the path of the file with that key, made if need be. Each is in a directory of its own, whose time
// says when it was used last: the file's own may be that of an image.
func (w *writer) cachedRoot(ctx context.Context, t *tree.Tree, key string) (string, error) {
	all := filepath.Join(w.Derived, "roots")
	entry := filepath.Join(all, key)
	now := time.Now()
	if os.Chtimes(entry, now, now) == nil {
		return filepath.Join(entry, rootFile), nil
	}
	if err := os.MkdirAll(all, 0o755); err != nil {
		return "", err
	}
	w.progress("packing the root file system: %d entries", t.Len())
	scratch, err := os.MkdirTemp(all, ".new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	made := filepath.Join(scratch, rootFile)
	if err := squash.Write(ctx, t, squash.Options{Tools: filepath.Join(w.dir, rootDir), Output: made, Epoch: w.Lock.Epoch}); err != nil {
		return "", err
	}
	if err := os.Chmod(made, 0o644); err != nil {
		return "", err
	}
	if err := os.Rename(scratch, entry); err != nil && !errors.Is(err, fs.ErrExist) { // another build was first with the same
		return "", err
	}
	return filepath.Join(entry, rootFile), pruneRoots(all)
}

// pruneRoots removes all but those used last, and leftovers of builds that died an hour ago.
func pruneRoots(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var roots []fs.FileInfo
	for _, e := range entries {
		switch info, err := e.Info(); {
		case err != nil:
		case !strings.HasPrefix(e.Name(), "."):
			roots = append(roots, info)
		case time.Since(info.ModTime()) > time.Hour:
			_ = os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
	slices.SortFunc(roots, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for _, r := range roots[min(keepRoots, len(roots)):] {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, r.Name())))
	}
	return err
}
