package fetch

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

// Put stores what r has and returns its size in bytes and digest. With want set, any other digest is an error and
// nothing is stored.
func (s *Store) Put(ctx context.Context, r io.Reader, want string) (size int64, digest string, err error) {
	f, err := os.CreateTemp(filepath.Join(s.dir, "part"), "put-*.part")
	if err != nil {
		return 0, "", fmt.Errorf("store: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	defer os.Remove(f.Name()) // gone when it was renamed
	h := sha256.New()
	if size, err = io.Copy(io.MultiWriter(f, h), contextReader{ctx, r}); err != nil {
		return 0, "", fmt.Errorf("store: %w", err)
	}
	digest = hex.EncodeToString(h.Sum(nil))
	if want != "" && digest != want {
		return 0, "", fmt.Errorf("store: the content has SHA-256 %s, expected %s", digest, want)
	}
	if err := s.keep(f, digest); err != nil {
		return 0, "", fmt.Errorf("store %s: %w", digest, err)
	}
	return size, digest, nil
}
