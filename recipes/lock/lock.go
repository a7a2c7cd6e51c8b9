// Package lock makes, reads, writes and compares locks: the list of every package of an image, each by SHA-256, bound to
// the recipe that it was made for. A build takes its packages from a lock and from nowhere else; only [Resolve] talks to
// an archive.
//
// The format is JSON with one field a line, in one canonical form, so that a lock reads well in a diff and has one
// digest. Anything else is refused: a lock is never edited by hand.
package lock

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"picolab/recipes"
	"picolab/recipes/fetch"
	"picolab/recipes/local"
)

// formatVersion is the only version there is.
const formatVersion = 1

// maxLock bounds what Read takes, in bytes; a package needs about 400.
const maxLock = 16 << 20

// Roles of packages that are not part of the root filesystem as they are.
const (
	RoleFirmware = "firmware" // only files that the image's modules ask for are taken
	RoleKernel   = "kernel"
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
	Packages     []Package `json:"packages"` // by role, then name
	Local        []Local   `json:"local,omitempty"`
}

// Local is a file or folder of the machine where the lock was made, in the order of recipes.Recipe.Locals.
type Local = local.Entry

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
	Filename     string `json:"filename"` // relative to the suite's archive
	Size         int64  `json:"size"`     // bytes
	SHA256       string `json:"sha256"`
	Source       string `json:"source"`         // source package, "name" or "name (version)" when its version differs
	Role         string `json:"role,omitempty"` // RoleKernel, RoleFirmware, or empty
}

// ErrMismatch is wrapped by the error of a lock that was made for something else.
var ErrMismatch = errors.New("lock does not match its recipe")

// Read reads a lock. Unknown fields, values that no archive would have, and any text but the canonical encoding are
// errors.
func Read(r io.Reader) (*Lock, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxLock+1))
	if err != nil {
		return nil, fmt.Errorf("read lock: %w", err)
	}
	if len(data) > maxLock {
		return nil, fmt.Errorf("read lock: more than %d bytes", maxLock)
	}
	l := new(Lock)
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(l); err != nil {
		return nil, fmt.Errorf("read lock: line %d: %w; make it again with: labimage lock", lineAt(data, offsetOf(err, d)), err)
	}
	if err := l.check(); err != nil {
		return nil, fmt.Errorf("read lock: %w", err)
	}
	if canonical := l.Encode(); !bytes.Equal(canonical, data) {
		return nil, fmt.Errorf("read lock: line %d is not as labimage writes it: edited by hand, or a merge; make it again with: labimage lock", firstDifference(canonical, data))
	}
	return l, nil
}

// offsetOf returns where an error of the decoder happened.
func offsetOf(err error, d *json.Decoder) int64 {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return syntax.Offset
	case errors.As(err, &kind):
		return kind.Offset
	}
	return d.InputOffset()
}

func lineAt(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(int64(len(data)), offset)], []byte{'\n'})
}

func firstDifference(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return lineAt(b, int64(n))
}

// Open reads the lock of a recipe (see recipes.LockOf) and checks that it was made for it.
func Open(nameOrPath string, r *recipes.Recipe) (*Lock, error) {
	data, path, err := recipes.LockOf(nameOrPath)
	if err != nil {
		return nil, err
	}
	l, err := Read(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := l.Matches(r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

// Encode returns the canonical text.
func (l *Lock) Encode() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(l); err != nil {
		panic(err) // cannot happen: strings and numbers only
	}
	return b.Bytes()
}

// Digest returns the SHA-256 of the canonical text, in hex.
func (l *Lock) Digest() string {
	sum := sha256.Sum256(l.Encode())
	return hex.EncodeToString(sum[:])
}

// Matches returns an error with the remedy, wrapping ErrMismatch, when the lock was not made for this recipe as it is
// now: its suites, packages, kernel package, architecture or local files have changed since.
func (l *Lock) Matches(r *recipes.Recipe) error {
	if l.RecipeSHA256 == r.ResolutionDigest() {
		return l.matchesLocal(r)
	}
	return fmt.Errorf("%w: it was made for recipe %q when suites, packages, exclude or kernel.package were others; run: labimage lock %s", ErrMismatch, l.Recipe, r.Origin())
}

// matchesLocal compares the names of local files, and the digests that the recipe states. Contents are compared by a
// build, see local.Check.
func (l *Lock) matchesLocal(r *recipes.Recipe) error {
	files := r.Locals()
	same := len(files) == len(l.Local)
	for i := 0; same && i < len(files); i++ {
		same = files[i].Name == l.Local[i].Path && (files[i].SHA256 == "" || files[i].SHA256 == l.Local[i].SHA256)
	}
	if same {
		return nil
	}
	return fmt.Errorf("%w: it was made for recipe %q when files of this machine were others; run: labimage lock %s", ErrMismatch, l.Recipe, r.Origin())
}

// Items returns what a build fetches, in the order of Packages. The mirror is what fetch.Mirror returned.
func (l *Lock) Items(mirror string) ([]fetch.Item, error) {
	bases := make(map[string]string, len(l.Suites))
	for _, s := range l.Suites {
		base := s.Mirror
		if base == "" {
			var err error
			if base, err = fetch.Base(mirror, s.Path); err != nil {
				return nil, fmt.Errorf("suite %s: %w", s.Name, err)
			}
		}
		bases[s.Name] = base
	}
	items := make([]fetch.Item, 0, len(l.Packages))
	for _, p := range l.Packages {
		items = append(items, fetch.Item{Name: p.Name + " " + p.Version, URL: bases[p.Suite] + "/" + p.Filename, Size: p.Size, SHA256: p.SHA256})
	}
	return items, nil
}

// Size returns the bytes of all packages.
func (l *Lock) Size() (total int64) {
	for _, p := range l.Packages {
		total += p.Size
	}
	return total
}
