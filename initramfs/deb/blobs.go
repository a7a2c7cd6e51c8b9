package deb

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"picolab/initramfs/tree"
)

// smallBlob is the size up to which a content is held in memory until its
// digest is known, so that a content already stored is not written again.
const smallBlob = 1 << 20

// Blobs is a folder of contents named by their SHA-256. A content appears
// under its name only when it is whole, so several processes may share one
// folder. Contents are not synced: the reader of each compares it with its
// digest.
type Blobs struct{ dir string }

// staleAfter is the age at which a temporary file is taken for the leftover of
// a process that was killed.
const staleAfter = 24 * time.Hour

// OpenBlobs makes or opens the folder dir.
func OpenBlobs(dir string) (*Blobs, error) {
	tmp := filepath.Join(dir, "tmp")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return nil, fmt.Errorf("open blobs: %w", err)
	}
	if err := sweep(tmp, time.Now().Add(-staleAfter)); err != nil {
		return nil, fmt.Errorf("open blobs: %w", err)
	}
	return &Blobs{dir}, nil
}

// sweep removes the files of dir last written before a time.
func sweep(dir string, before time.Time) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || !info.ModTime().Before(before) {
			continue // just renamed by its owner, or in use
		}
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Put stores everything r yields and returns it as a Blob. The same content is
// stored once.
func (b *Blobs) Put(r io.Reader) (tree.Blob, error) {
	head := make([]byte, 0, 32<<10)
	buf := bytes.NewBuffer(head)
	n, err := buf.ReadFrom(io.LimitReader(r, smallBlob+1))
	if err != nil {
		return nil, err
	}
	if n <= smallBlob {
		return b.putSmall(buf.Bytes())
	}
	return b.putLarge(io.MultiReader(buf, r))
}

func (b *Blobs) putSmall(data []byte) (tree.Blob, error) {
	sum := sha256.Sum256(data)
	if blob, err := b.Get(int64(len(data)), sum); err == nil {
		return blob, nil
	}
	return b.putLarge(bytes.NewReader(data))
}

// putLarge writes under a temporary name, then renames.
func (b *Blobs) putLarge(r io.Reader) (_ tree.Blob, err error) {
	tmp, err := os.CreateTemp(filepath.Join(b.dir, "tmp"), "blob-")
	if err != nil {
		return nil, fmt.Errorf("store blob: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	h := sha256.New()
	size, err := io.Copy(io.MultiWriter(tmp, h), r)
	if err = errors.Join(err, tmp.Close()); err != nil {
		return nil, fmt.Errorf("store blob: %w", err)
	}
	sum := [sha256.Size]byte(h.Sum(nil))
	if err := b.place(tmp.Name(), sum); err != nil {
		return nil, fmt.Errorf("store blob: %w", err)
	}
	return tree.File(b.path(sum), size, sum), nil
}

func (b *Blobs) place(tmp string, sum [sha256.Size]byte) error {
	path := b.path(sum)
	err := os.Rename(tmp, path)
	if errors.Is(err, os.ErrNotExist) {
		if err = os.Mkdir(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		err = os.Rename(tmp, path)
	}
	return err
}

// Get returns the content of that size and digest, or an error when it is not
// here in full length.
func (b *Blobs) Get(size int64, sum [sha256.Size]byte) (tree.Blob, error) {
	path := b.path(sum)
	info, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("find blob: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() != size {
		return nil, fmt.Errorf("find blob %s: has %d bytes, not %d", path, info.Size(), size)
	}
	return tree.File(path, size, sum), nil
}

func (b *Blobs) path(sum [sha256.Size]byte) string {
	name := hex.EncodeToString(sum[:])
	return filepath.Join(b.dir, name[:2], name)
}
