package bundle

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"picolab/recipes"
	"picolab/recipes/fetch"
	"picolab/recipes/local"
	"picolab/recipes/lock"
)

// window bounds the memory of unpacking, in bytes; what Export writes needs 4 MiB.
const window = 64 << 20

// Import reads a bundle: packages go to the store, each when it was verified; recipe, lock and sources go to dir, which
// appears when everything was, and must not exist before.
func Import(ctx context.Context, path, dir string, store *fetch.Store, progress *fetch.Progress) (*Index, error) {
	x, err := load(ctx, path, dir, store, progress)
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", path, err)
	}
	return x, nil
}

func load(ctx context.Context, path, dir string, store *fetch.Store, progress *fetch.Progress) (*Index, error) {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, fmt.Errorf("%s is there already; name another folder with -o", dir))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := zstd.NewReader(bufio.NewReaderSize(f, 1<<20), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(window))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	r := &reader{tar: tar.NewReader(&contextReader{ctx, z}), dir: tmp, store: store, progress: progress}
	err = r.run(ctx)
	if err == nil {
		_, err = io.Copy(io.Discard, z) // to the checksum at the end
	}
	if err != nil {
		return nil, explain(err)
	}
	if err := r.complete(ctx); err != nil {
		return nil, err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return nil, err
	}
	return r.index, os.Rename(tmp, dir)
}

// explain puts the libraries' words for a file that is no bundle, or only a part of one, into ours.
func explain(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Errorf("the bundle is cut off: %w", err)
	case errors.Is(err, zstd.ErrMagicMismatch), errors.Is(err, tar.ErrHeader):
		return fmt.Errorf("this is no bundle, or a damaged one: %w", err)
	}
	return err
}

// reader goes through a bundle.
type reader struct {
	tar      *tar.Reader
	index    *Index
	dir      string
	store    *fetch.Store
	progress *fetch.Progress
}

func (r *reader) run(ctx context.Context) error {
	if err := r.readIndex(); err != nil {
		return err
	}
	r.progress.Start("import", len(r.index.Members), r.index.Size())
	defer r.progress.Stop()
	for _, m := range r.index.Members {
		if err := r.member(ctx, m); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	if h, err := r.tar.Next(); err != io.EOF {
		return errors.Join(err, fmt.Errorf("after its last member comes %q", nameOf(h)))
	}
	return nil
}

// complete makes sure that a build finds all that it asks for.
func (r *reader) complete(ctx context.Context) error {
	name := filepath.Join(r.dir, r.index.Recipe+".yaml")
	recipe, err := recipes.Open(name)
	if err != nil {
		return err
	}
	l, err := lock.Open(name, recipe)
	if err != nil {
		return err
	}
	for _, p := range l.Packages {
		if !r.store.Has(p.SHA256, p.Size) {
			return fmt.Errorf("package %s %s of the lock is not in the bundle", p.Name, p.Version)
		}
	}
	return local.Check(ctx, r.store, recipe, l.Local)
}

func nameOf(h *tar.Header) string {
	if h == nil {
		return "something unreadable"
	}
	return h.Name
}

func (r *reader) readIndex() error {
	h, err := r.tar.Next()
	if err != nil {
		return err
	}
	if h.Name != indexName || h.Size > maxIndex {
		return fmt.Errorf("this is no bundle: its first member is %q of %d bytes, not %s", h.Name, h.Size, indexName)
	}
	data, err := io.ReadAll(r.tar)
	if err != nil {
		return err
	}
	r.index, err = parseIndex(data)
	return err
}

func (r *reader) member(ctx context.Context, m Member) error {
	h, err := r.tar.Next()
	if err != nil {
		return err
	}
	if h.Name != m.Name || h.Size != m.Size || h.Typeflag != tar.TypeReg {
		return fmt.Errorf("the bundle has %q of %d bytes in its place", h.Name, h.Size)
	}
	in := io.TeeReader(r.tar, meter{r.progress})
	if digest, ok := strings.CutPrefix(m.Name, blobs); ok {
		_, _, err := r.store.Put(ctx, in, digest)
		return err
	}
	return r.file(filepath.Join(r.dir, filepath.FromSlash(m.Name)), m, in)
}

func (r *reader) file(path string, m Member, in io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, h), in)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != m.SHA256 {
		return fmt.Errorf("the content has SHA-256 %s, expected %s", got, m.SHA256)
	}
	return nil
}
