// Package bundle keeps everything that a build of a recipe takes in one file, so that the image can be built for ever, with
// no network and no archive.
//
// A bundle is a tar archive (POSIX, times and owners 0) packed by zstd. Its first member, index.json, lists all the others
// in their order, each with size and SHA-256:
//
//	NAME.yaml          the recipe in one text, which extends nothing
//	NAME.lock          its lock
//	blobs/DIGEST       every .deb of the lock, and every file and folder of the machine it was locked on
//	source/PATH        the sources of picolab that the recipe's commands are made of, with go.mod and go.sum
//	source/.modules/   the Go modules they need, as a module proxy serves them
//
// The same recipe, lock and sources give the same bytes. Not in it are the Go toolchain, whose version the index has, and
// the archive's keyring: a build takes packages by their digests and checks no signatures.
package bundle

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"picolab/initramfs/bb"
	"picolab/recipes"
	"picolab/recipes/fetch"
	"picolab/recipes/lock"
)

const (
	format    = 1
	indexName = "index.json"
	maxIndex  = 64 << 20 // bytes
	blobs     = "blobs/"
	sources   = "source/"
)

// Index is the first member.
type Index struct {
	Format  int      `json:"format"`
	Recipe  string   `json:"recipe"`
	Lock    string   `json:"lock"` // SHA-256
	Go      string   `json:"go"`   // version of the toolchain that the sources were compiled with, "go1.26.0"
	Members []Member `json:"members"`
}

// Member is one file of the bundle.
type Member struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`

	path string // where it is, when the bundle is written
	data []byte // or what it is
}

// Size is the sum of all members in bytes.
func (x *Index) Size() (n int64) {
	for _, m := range x.Members {
		n += m.Size
	}
	return n
}

// Options says what goes into a bundle.
type Options struct {
	Recipe    *recipes.Recipe
	Lock      *lock.Lock   // made for Recipe
	Store     *fetch.Store // holds every package of the lock
	ModuleDir string       // picolab's source tree
	Derived   string       // directory for what can be made again
	Offline   bool         // the go command must not fetch modules
	Progress  *fetch.Progress
}

// gather lists the members; Go modules are put into scratch.
func (o *Options) gather(ctx context.Context, scratch string) (*Index, error) {
	x := &Index{Format: format, Recipe: o.Recipe.Name, Lock: o.Lock.Digest()}
	text, err := o.Recipe.Encode()
	if err != nil {
		return nil, err
	}
	x.add(o.Recipe.Name+".yaml", text)
	x.add(o.Recipe.Name+".lock", o.Lock.Encode())
	if err := o.addBlobs(x); err != nil {
		return nil, err
	}
	if err := o.addSources(ctx, x, scratch); err != nil {
		return nil, err
	}
	slices.SortFunc(x.Members, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	return x, nil
}

func (x *Index) add(name string, data []byte) {
	sum := sha256.Sum256(data)
	x.Members = append(x.Members, Member{Name: name, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:]), data: data})
}

// addBlobs takes what the lock names, each content once.
func (o *Options) addBlobs(x *Index) error {
	sizes := map[string]int64{}
	for _, p := range o.Lock.Packages {
		sizes[p.SHA256] = p.Size
	}
	for _, f := range o.Lock.Local {
		sizes[f.SHA256] = f.Size
	}
	for digest, size := range sizes {
		f, err := o.Store.Blob(digest)
		if err != nil {
			return fmt.Errorf("the store lacks a file of the lock: %w", err)
		}
		x.Members = append(x.Members, Member{Name: blobs + digest, Size: size, SHA256: digest, path: f.Name()})
		f.Close()
	}
	return nil
}

// addSources takes picolab's sources and the modules that they need.
func (o *Options) addSources(ctx context.Context, x *Index, scratch string) error {
	opt := bb.Options{Commands: o.Recipe.Commands, ModuleDir: o.ModuleDir, Cache: o.Derived, Offline: o.Offline}
	if len(opt.Commands) == 0 {
		return errors.New("the recipe names no commands")
	}
	files, err := bb.Sources(ctx, opt)
	if err != nil {
		return err
	}
	for _, name := range files {
		if err := x.addFile(sources+filepath.ToSlash(name), filepath.Join(o.ModuleDir, name)); err != nil {
			return err
		}
	}
	o.Progress.Logf("gathering Go modules")
	if err := bb.Modules(ctx, opt, scratch); err != nil {
		return err
	}
	if x.Go, err = bb.GoVersion(ctx, o.ModuleDir); err != nil {
		return err
	}
	return filepath.WalkDir(scratch, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		return x.addFile(sources+bb.ModulesDir+filepath.ToSlash(path[len(scratch):]), path)
	})
}

func (x *Index) addFile(name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	x.Members = append(x.Members, Member{Name: name, Size: n, SHA256: hex.EncodeToString(h.Sum(nil)), path: path})
	return err
}

func (m *Member) open() (io.ReadCloser, error) {
	if m.path == "" {
		return io.NopCloser(bytes.NewReader(m.data)), nil
	}
	return os.Open(m.path)
}

func (x *Index) encode() []byte {
	data, err := json.MarshalIndent(x, "", " ")
	if err != nil {
		panic("encode index: " + err.Error()) // strings and numbers only
	}
	return append(data, '\n')
}

var (
	digestShape = regexp.MustCompile(`^[0-9a-f]{64}$`)
	recipeShape = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
)

// parseIndex reads an index and refuses names that lead elsewhere.
func parseIndex(data []byte) (*Index, error) {
	x := new(Index)
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(x); err != nil {
		return nil, fmt.Errorf("%s: %w", indexName, err)
	}
	switch {
	case x.Format != format:
		return nil, fmt.Errorf("%s: format %d, this program knows %d", indexName, x.Format, format)
	case !recipeShape.MatchString(x.Recipe) || !digestShape.MatchString(x.Lock):
		return nil, fmt.Errorf("%s: recipe %.70q or lock %.70q is none", indexName, x.Recipe, x.Lock)
	}
	if at := slices.IndexFunc(x.Members, func(m Member) bool { return m.Name == x.Recipe+".lock" }); at < 0 || x.Members[at].SHA256 != x.Lock {
		return nil, fmt.Errorf("%s: the lock is missing, or another one", indexName)
	}
	for i, m := range x.Members {
		if err := x.check(m); err != nil {
			return nil, fmt.Errorf("%s: %.300q: %w", indexName, m.Name, err)
		}
		if i > 0 && x.Members[i-1].Name >= m.Name {
			return nil, fmt.Errorf("%s: %.300q comes twice or out of order", indexName, m.Name)
		}
	}
	return x, nil
}

func (x *Index) check(m Member) error {
	digest, isBlob := strings.CutPrefix(m.Name, blobs)
	rest, isSource := strings.CutPrefix(m.Name, sources)
	switch {
	case m.Size < 0 || !digestShape.MatchString(m.SHA256):
		return errors.New("bad size or digest")
	case isBlob && digest != m.SHA256:
		return errors.New("it is not named by its digest")
	case isBlob || m.Name == x.Recipe+".yaml" || m.Name == x.Recipe+".lock":
		return nil
	case isSource && filepath.IsLocal(rest) && filepath.Clean(rest) == rest && !strings.ContainsAny(rest, "\x00\\"):
		return nil
	}
	return errors.New("no member of a bundle has such a name")
}
