// Package lock reads, writes, compares and makes locks: the list of every package of an image, each by SHA-256.
package lock

import (
	"context"
	"errors"
	"io"

	"picolab/recipes"
	"picolab/recipes/fetch"
)

// A Lock names every file that a build may use.
type Lock struct {
	Version      int       `json:"version"`
	Recipe       string    `json:"recipe"`
	RecipeSHA256 string    `json:"recipe_sha256"` // recipes.Recipe.ResolutionDigest
	Architecture string    `json:"architecture"`
	Epoch        int64     `json:"epoch"`    // seconds since 1970: the newest suite's Date, and the mtime of everything in the image
	Keyrings     []string  `json:"keyrings"` // SHA-256 of the keyring that verified the suites
	Suites       []Suite   `json:"suites"`
	Packages     []Package `json:"packages"` // by name, then role
}

// A Suite records the signed index that the packages were taken from.
type Suite struct {
	Name            string `json:"name"`
	Path            string `json:"path,omitempty"`
	Mirror          string `json:"mirror,omitempty"`      // only when the recipe gives the suite its own
	Date            string `json:"date"`                  // RFC 3339, UTC
	ValidUntil      string `json:"valid_until,omitempty"` // RFC 3339, UTC
	InReleaseSHA256 string `json:"inrelease_sha256"`
}

// A Package is one .deb.
type Package struct {
	Name         string `json:"name"`
	Version      string `json:"version"`
	Architecture string `json:"architecture"`
	Suite        string `json:"suite"`
	Filename     string `json:"filename"` // relative to the suite's mirror
	Size         int64  `json:"size"`     // bytes
	SHA256       string `json:"sha256"`
	Source       string `json:"source"`         // source package, "name" or "name (version)" when its version differs
	Role         string `json:"role,omitempty"` // "kernel": not part of the root filesystem
}

var errTODO = errors.New("unfinished")

// Options of [Resolve].
type Options struct {
	Mirror    string // URL; the caller has asked fetch.Mirror
	Keyring   string // path; empty: the machine's Debian keyring, else the embedded one
	Old       *Lock  // kept versions, and the dates that must not go back
	Update    []string
	UpdateAll bool
	Store     *fetch.Store
	Progress  *fetch.Progress
}

// Resolve makes a lock for the recipe from the archive.
func Resolve(ctx context.Context, r *recipes.Recipe, o Options) (*Lock, error) { return nil, errTODO }

// Read reads a lock. Anything but the canonical encoding is an error.
func Read(r io.Reader) (*Lock, error) { return nil, errTODO }

// Open reads the lock of a recipe (recipes.LockOf) and checks that it belongs to it.
func Open(nameOrPath string, r *recipes.Recipe) (*Lock, error) { return nil, errTODO }

// Encode returns the canonical text.
func (l *Lock) Encode() []byte { return nil }

// Digest returns the SHA-256 of Encode, in hex.
func (l *Lock) Digest() string { return "" }

// Matches returns an error with the remedy when the lock was not made for this recipe.
func (l *Lock) Matches(r *recipes.Recipe) error { return errTODO }

// Items returns what to fetch for a build, in the order of Packages. Needs the mirror's URL.
func (l *Lock) Items(mirror string) ([]fetch.Item, error) { return nil, errTODO }

// Diff returns what changed, one line a package; empty when nothing did.
func Diff(old, new *Lock) string { return "" }
