package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// MismatchError says that a file of an image is not what the manifest says.
type MismatchError struct {
	Path     string
	Got      string // what was found, in words
	Expected string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s: %s, the manifest says %s; build the image again", e.Path, e.Got, e.Expected)
}

// Verify reads every file of the image and compares sizes and digests; the unpacked root is only looked for, its
// contents are the business of the builder. The error is a *MismatchError, or the context's.
func (m *Manifest) Verify(ctx context.Context) error {
	for _, f := range m.Files {
		if err := m.verifyFile(ctx, f); err != nil {
			return fmt.Errorf("verify image %s: %w", m.Name, err)
		}
	}
	if root := m.Root(); root != "" {
		if st, err := os.Stat(root); err != nil || !st.IsDir() {
			return fmt.Errorf("verify image %s: %w", m.Name, &MismatchError{root, "no directory", "a root filesystem"})
		}
	}
	return nil
}

func (m *Manifest) verifyFile(ctx context.Context, f File) error {
	path := filepath.Join(m.dir, f.Name)
	size, sum, err := HashFile(ctx, path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return &MismatchError{path, "no file", "one of " + fmt.Sprint(f.Size, " bytes")}
	case err != nil:
		return err
	case size != f.Size:
		return &MismatchError{path, fmt.Sprint(size, " bytes"), fmt.Sprint(f.Size, " bytes")}
	case sum != f.SHA256:
		return &MismatchError{path, "SHA-256 " + sum, f.SHA256}
	}
	return nil
}

// HashFile returns the size and the SHA-256, in hex, of the file at path. It stops early when ctx ends.
func HashFile(ctx context.Context, path string) (int64, string, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.CopyBuffer(h, ctxReader{ctx, f}, make([]byte, 1<<20))
	if err != nil {
		return 0, "", fmt.Errorf("read %s: %w", path, err)
	}
	return n, hex.EncodeToString(h.Sum(nil)), nil
}

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
