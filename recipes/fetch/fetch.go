// Package fetch is the content-addressed store of downloaded files, and the way into it: bounded, resumable downloads
// that are verified before they get their final name.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Options of [Store.Fetch]. The zero value works.
type Options struct {
	Jobs     int       // parallel downloads, default 4
	Progress *Progress // nil is silent
}

// An Item is one file to have: where it is, and what it must be.
type Item struct {
	Name   string // for messages, e.g. "libc6 2.41-12"
	URL    string // absolute, http or https
	Size   int64  // exact, in bytes
	SHA256 string // 64 hex digits
}

// A GoneError says that the mirror does not have a file (any more): HTTP 404 or 410.
type GoneError struct {
	Name, URL string
}

func (e *GoneError) Error() string {
	return fmt.Sprintf("fetch %s: the mirror no longer has %s", e.Name, e.URL)
}

var errTODO = errors.New("unfinished")

// Store is a folder of files named by their SHA-256. Several processes may use one at the same time.
type Store struct{ dir string }

// Progress reports what is downloaded.
type Progress struct{}

// Open opens the store in dir, making it if needed. An empty dir is $PICOLAB_CACHE, else picolab in the user's cache folder.
func Open(dir string) (*Store, error) { return nil, errTODO }

// Has tells whether the file is in the store, with this size.
func (s *Store) Has(sha256 string, size int64) bool { return false }

// Blob opens a file of the store for reading.
func (s *Store) Blob(sha256 string) (*os.File, error) { return nil, errTODO }

// Verify reads a stored file again and compares its hash; a bad one is removed.
func (s *Store) Verify(ctx context.Context, sha256 string) error { return errTODO }

// Fetch makes sure that every item is in the store.
func (s *Store) Fetch(ctx context.Context, items []Item, o Options) error { return errTODO }

// Dir returns (and makes) a sub-folder for derived caches.
func (s *Store) Dir(elem ...string) (string, error) { return "", errTODO }

// Mirror returns the URL of the archive.
func Mirror(flag, recipe string) (string, error) { return "", errTODO }
