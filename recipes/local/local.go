// Package local brings what a recipe takes from this machine, single files and folders, into the store: from then on it
// is content like a downloaded package, named by its SHA-256 and bound to the lock.
//
// A folder becomes its canonical archive: USTAR with PAX records where needed, names sorted bytewise, owner 0, time 0,
// permission bits 0644 or 0755, regular files, folders and symbolic links only. The same files give the same bytes.
package local

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"picolab/recipes"
	"picolab/recipes/fetch"
)

// maxFile bounds one file, in bytes.
const maxFile = 4 << 30

// An Entry is what a lock says of a file or folder.
type Entry struct {
	Path   string `json:"path"` // recipes.LocalFile.Name
	Size   int64  `json:"size"` // bytes of the file, or of the archive
	SHA256 string `json:"sha256"`
}

// Add brings all that the recipe takes from this machine into the store. A digest that the recipe states must be right.
// Errors are *recipes.Error where the recipe is at fault.
func Add(ctx context.Context, store *fetch.Store, r *recipes.Recipe) ([]Entry, error) {
	var out []Entry
	for _, f := range r.Locals() {
		e, err := add(ctx, store, f)
		if err != nil {
			return nil, r.Fault(f.Node, "%v", err)
		}
		if f.SHA256 != "" && f.SHA256 != e.SHA256 {
			return nil, r.Fault(f.Node, "%s has SHA-256 %s, not the one stated", f.Path, e.SHA256)
		}
		out = append(out, e)
	}
	return out, nil
}

func add(ctx context.Context, store *fetch.Store, f recipes.LocalFile) (Entry, error) {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(write(ctx, w, f))
	}()
	size, sum, err := store.Put(ctx, r, "")
	r.CloseWithError(err)
	<-done
	return Entry{Path: f.Name, Size: size, SHA256: sum}, err
}

// Check makes sure that the store has everything that entries name. Files that are still there must not have changed
// since they were locked; files that are gone are taken from the store.
func Check(ctx context.Context, store *fetch.Store, r *recipes.Recipe, entries []Entry) error {
	byName := make(map[string]Entry, len(entries))
	for _, e := range entries {
		byName[e.Path] = e
	}
	for _, f := range r.Locals() {
		if err := check(ctx, store, f, byName[f.Name]); err != nil {
			return r.Fault(f.Node, "%v", err)
		}
	}
	return nil
}

func check(ctx context.Context, store *fetch.Store, f recipes.LocalFile, want Entry) error {
	_, err := os.Stat(f.Path)
	if errors.Is(err, fs.ErrNotExist) && store.Has(want.SHA256, want.Size) {
		return nil
	}
	if err != nil {
		return err
	}
	h := sha256.New()
	if err := write(ctx, h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want.SHA256 {
		return fmt.Errorf("%s changed since it was locked (SHA-256 %.12s, the lock has %.12s); run: labimage lock RECIPE", f.Path, got, want.SHA256)
	}
	if store.Has(want.SHA256, want.Size) {
		return nil
	}
	_, err = add(ctx, store, f)
	return err
}

// write sends the bytes that are hashed and stored.
func write(ctx context.Context, w io.Writer, f recipes.LocalFile) error {
	info, err := os.Stat(f.Path)
	switch {
	case err != nil:
		return err
	case f.Folder && info.IsDir():
		return archive(ctx, w, f.Path)
	case f.Folder:
		return fmt.Errorf("%s is not a folder", f.Path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", f.Path)
	}
	return copyFile(ctx, w, f.Path)
}

func copyFile(ctx context.Context, w io.Writer, path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	n, err := io.Copy(w, io.LimitReader(in, maxFile+1))
	if n > maxFile {
		return fmt.Errorf("%s is larger than %d bytes", path, int64(maxFile))
	}
	return errors.Join(err, ctx.Err())
}

// archive writes the canonical archive of a folder. WalkDir goes through each folder by name; names inside a folder are
// a prefix of nothing else, so the order is the same everywhere.
func archive(ctx context.Context, w io.Writer, dir string) error {
	t := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err := errors.Join(err, ctx.Err()); err != nil || name == dir {
			return err
		}
		return member(ctx, t, name, filepath.ToSlash(name[len(dir)+1:]), d)
	})
	if err != nil {
		return err
	}
	return t.Close()
}

func member(ctx context.Context, t *tar.Writer, name, rel string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	h := &tar.Header{Name: rel, Mode: 0o644, Typeflag: tar.TypeReg, Size: info.Size()}
	if info.Mode()&0o111 != 0 {
		h.Mode = 0o755
	}
	switch info.Mode().Type() {
	case 0:
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		return copyFile(ctx, t, name)
	case fs.ModeDir:
		h.Name, h.Typeflag, h.Size, h.Mode = rel+"/", tar.TypeDir, 0, 0o755
	case fs.ModeSymlink:
		if rel != "" && isBuildLink(rel) {
			return nil
		}
		h.Typeflag, h.Size, h.Mode = tar.TypeSymlink, 0, 0o777
		if h.Linkname, err = os.Readlink(name); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s is a %s; only files, folders and links can be taken", name, info.Mode().Type())
	}
	return t.WriteHeader(h)
}

// isBuildLink is true for the links to the kernel's source that `make modules_install` leaves: they say where the kernel
// was built, and are of no use in an image.
func isBuildLink(rel string) bool {
	base := filepath.Base(rel)
	return (base == "build" || base == "source") && filepath.Base(filepath.Dir(filepath.Dir(rel))) == "modules"
}
