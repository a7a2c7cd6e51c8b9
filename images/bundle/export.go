package bundle

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"picolab/recipes/fetch"
)

// Export writes a bundle to path, which appears complete or not at all.
func Export(ctx context.Context, o Options, path string) (*Index, error) {
	x, err := export(ctx, o, path)
	if err != nil {
		return nil, fmt.Errorf("export %s: %w", path, err)
	}
	return x, nil
}

func export(ctx context.Context, o Options, path string) (x *Index, err error) {
	scratch, err := os.MkdirTemp("", "labimage-modules-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	if x, err = o.gather(ctx, scratch); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	err = write(ctx, f, x, o.Progress)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	return x, os.Rename(f.Name(), path)
}

// write packs the members. Most are packed already: the fastest level loses nothing, and one thread gives the same bytes
// everywhere.
func write(ctx context.Context, w io.Writer, x *Index, progress *fetch.Progress) error {
	progress.Start("export", len(x.Members), x.Size())
	defer progress.Stop()
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	index := Index{}
	index.add(indexName, x.encode())
	for _, m := range append(index.Members, x.Members...) {
		if err := writeMember(ctx, t, m, progress); err != nil {
			z.Close() // frees it; the bundle is lost anyway
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}

func writeMember(ctx context.Context, t *tar.Writer, m Member, progress *fetch.Progress) error {
	in, err := m.open()
	if err != nil {
		return err
	}
	defer in.Close()
	if err := t.WriteHeader(&tar.Header{Name: m.Name, Size: m.Size, Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(t, h, meter{progress}), &contextReader{ctx, in})
	if errors.Is(err, tar.ErrWriteTooLong) || err == nil && (n != m.Size || hex.EncodeToString(h.Sum(nil)) != m.SHA256) {
		return fmt.Errorf("%s is damaged, or changed meanwhile; a damaged file of the store is mended by: labimage build", m.path)
	}
	return err
}

// meter tells of progress.
type meter struct{ p *fetch.Progress }

func (m meter) Write(p []byte) (int, error) { m.p.Grow(int64(len(p))); return len(p), nil }

// contextReader ends a long copy when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
