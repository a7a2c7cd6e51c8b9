package initramfs

import (
	"archive/tar"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"picolab/initramfs/deb"
	"picolab/initramfs/tree"
	"picolab/recipes"
	"picolab/recipes/fetch"
	"picolab/recipes/lock"
)

// locals finds the files that a recipe took from the machine it was locked on.
type locals struct {
	store   *fetch.Store
	cache   *deb.Cache
	entries map[string]lock.Local // by node of the recipe, and by the path of a file in the image
}

func openLocals(r *recipes.Recipe, l *lock.Lock, opt Options) (*locals, error) {
	cache, err := deb.OpenCache(filepath.Join(opt.Derived, "packages"))
	if err != nil {
		return nil, err
	}
	files := r.Locals()
	if len(files) != len(l.Local) {
		return nil, fmt.Errorf("the recipe has %d files of this machine, the lock %d", len(files), len(l.Local))
	}
	h := &locals{opt.Store, cache, map[string]lock.Local{}}
	for i, f := range files {
		h.entries[f.Node] = l.Local[i]
	}
	for i, f := range r.Files {
		h.entries[f.Path] = h.entries[fmt.Sprintf("files[%d]", i)]
	}
	return h, nil
}

// open returns the stored bytes of a node.
func (h *locals) open(node string) (*os.File, lock.Local, error) {
	e := h.entries[node]
	f, err := h.store.Blob(e.SHA256)
	if err != nil {
		return nil, e, fmt.Errorf("file %s: %w", e.Path, err)
	}
	return f, e, nil
}

// blob returns the content of a file.
func (h *locals) blob(node string) (tree.Blob, error) {
	f, e, err := h.open(node)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum, err := hex.DecodeString(e.SHA256)
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", e.Path, err)
	}
	return tree.File(f.Name(), e.Size, [32]byte(sum)), nil
}

// folder reads the canonical archive of a folder, see recipes/local.
func (h *locals) folder(node string) (*tree.Tree, error) {
	f, e, err := h.open(node)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t := tree.New()
	for r := tar.NewReader(f); ; {
		header, err := r.Next()
		if err == io.EOF {
			return t, nil
		}
		if err == nil {
			err = h.member(t, header, r, e.Path)
		}
		if err != nil {
			return nil, fmt.Errorf("folder %s: %w", e.Path, err)
		}
	}
}

func (h *locals) member(t *tree.Tree, header *tar.Header, content io.Reader, from string) error {
	name, perm := strings.TrimSuffix(header.Name, "/"), uint32(header.Mode)
	switch header.Typeflag {
	case tar.TypeDir:
		return t.Put(name, tree.Dir(perm).From(from))
	case tar.TypeSymlink:
		return t.Put(name, tree.Symlink(header.Linkname).From(from))
	}
	blob, err := h.cache.Blobs().Put(content)
	if err != nil {
		return err
	}
	return t.Put(name, tree.Regular(perm, blob).From(from))
}

// deb unpacks a package.
func (h *locals) deb(ctx context.Context, node string) (*tree.Tree, error) {
	f, e, err := h.open(node)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t := tree.New()
	_, err = h.cache.Unpack(ctx, f, e.Size, e.SHA256, path.Base(e.Path), t, deb.Options{UsrMerge: true, Keep: keep, KeepName: keepName})
	return t, err
}
