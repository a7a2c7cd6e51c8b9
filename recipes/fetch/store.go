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
	"regexp"
	"time"

	"golang.org/x/sys/unix"
)

// staleAfter is the age at which a part that nobody holds is given up.
const staleAfter = 7 * 24 * time.Hour

// Store is a folder of files named by their SHA-256. Several processes may use one at the same time.
type Store struct{ dir string }

// Open opens the store in dir, making it if needed, and removes parts that were left more than a week ago. An empty dir
// is $PICOLAB_CACHE, else picolab in the user's cache folder (os.UserCacheDir).
func Open(dir string) (*Store, error) {
	if dir == "" {
		var err error
		if dir, err = defaultDir(); err != nil {
			return nil, err
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{dir: dir}
	for _, sub := range []string{"sha256", "part"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
	}
	return s, s.sweep(time.Now().Add(-staleAfter))
}

func defaultDir() (string, error) {
	if dir := os.Getenv("PICOLAB_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("open store: %w; set PICOLAB_CACHE to a folder", err)
	}
	return filepath.Join(dir, "picolab"), nil
}

// sweep removes parts that were last written before a time, unless a process holds them.
func (s *Store) sweep(before time.Time) error {
	entries, err := os.ReadDir(filepath.Join(s.dir, "part"))
	if err != nil {
		return fmt.Errorf("sweep store: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || info.ModTime().After(before) {
			continue // gone meanwhile, or not ours, or young
		}
		removeUnlocked(filepath.Join(s.dir, "part", e.Name()))
	}
	return nil
}

// removeUnlocked does its best: a part that stays is only a waste of space.
func removeUnlocked(path string) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && sameFile(f, path) {
		os.Remove(path)
	}
}

var digestShape = regexp.MustCompile(`^[0-9a-f]{64}$`)

// checkDigest keeps anything but a digest out of file names.
func checkDigest(sha256 string) error {
	if !digestShape.MatchString(sha256) {
		return fmt.Errorf("%q is not a SHA-256 in hex", sha256)
	}
	return nil
}

func (s *Store) path(sha256 string) string { return filepath.Join(s.dir, "sha256", sha256[:2], sha256) }
func (s *Store) part(sha256 string) string { return filepath.Join(s.dir, "part", sha256+".part") }

// Path returns the store's folder.
func (s *Store) Path() string { return s.dir }

// Has tells whether the file is in the store, with this size in bytes.
func (s *Store) Has(sha256 string, size int64) bool {
	if checkDigest(sha256) != nil {
		return false
	}
	info, err := os.Lstat(s.path(sha256))
	return err == nil && info.Mode().IsRegular() && info.Size() == size
}

// Blob opens a file of the store for reading. It was verified when it was stored; see [Store.Verify]. An absent one is
// an error that wraps fs.ErrNotExist.
func (s *Store) Blob(sha256 string) (*os.File, error) {
	if err := checkDigest(sha256); err != nil {
		return nil, err
	}
	return os.Open(s.path(sha256))
}

// Verify reads a stored file again and compares its hash. A bad one is removed, so that the next Fetch mends it.
func (s *Store) Verify(ctx context.Context, digest string) error {
	f, err := s.Blob(digest)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, contextReader{ctx, f}); err != nil {
		return fmt.Errorf("verify %s: %w", f.Name(), err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != digest {
		return errors.Join(fmt.Errorf("verify %s: the stored file is damaged (SHA-256 %s) and was removed; run the command again", f.Name(), got), os.Remove(f.Name()))
	}
	return nil
}

// A contextReader ends a long read when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

// Dir makes and returns a sub-folder for caches that are derived from stored files.
func (s *Store) Dir(elem ...string) (string, error) {
	rel := filepath.Join(elem...)
	if !filepath.IsLocal(rel) {
		return "", fmt.Errorf("store folder %q: outside of the store", rel)
	}
	dir := filepath.Join(s.dir, rel)
	return dir, os.MkdirAll(dir, 0o755)
}
