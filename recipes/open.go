package recipes

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// maxRecipe bounds what is read of a recipe or lock file: far above any real one, far below trouble.
const (
	maxRecipe = 1 << 20
	maxLock   = 16 << 20
)

//go:embed *.yaml *.lock
var embedded embed.FS

// Names returns the names of the embedded recipes, sorted.
func Names() []string {
	files, err := fs.Glob(embedded, "*.yaml")
	if err != nil {
		panic("bad pattern") // cannot happen: the pattern is constant
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(f, ".yaml")
	}
	sort.Strings(files)
	return files
}

// Open reads a recipe, what it extends, and validates the result. The argument is an embedded name ("guest") or the
// path of a file; a file is anything with a slash or the ending .yaml or .yml. Errors carry file:line:column.
func Open(nameOrPath string) (*Recipe, error) {
	r, err := open(sourceOf(nameOrPath), nil)
	if err != nil {
		return nil, err
	}
	r.origin = nameOrPath
	return r, nil
}

// LockOf returns the lock of a recipe: the file beside it with the ending .lock, or the embedded one. The path is where
// it was, or would be, for messages. A missing lock is an error that wraps fs.ErrNotExist.
func LockOf(nameOrPath string) (data []byte, path string, err error) {
	src := sourceOf(nameOrPath)
	src.path = strings.TrimSuffix(src.path, filepath.Ext(src.path)) + ".lock"
	data, err = src.read(maxLock)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("recipe %s has no lock %s (make one with: labimage lock %s): %w", nameOrPath, src.path, nameOrPath, fs.ErrNotExist)
	}
	return data, src.path, err
}

// A source is where a recipe's text is: on the disk, or in this binary.
type source struct {
	path  string
	inner bool // embedded
}

// IsFile tells whether the argument of Open names a file rather than an embedded recipe.
func IsFile(nameOrPath string) bool {
	ext := filepath.Ext(nameOrPath)
	return strings.ContainsRune(nameOrPath, filepath.Separator) || ext == ".yaml" || ext == ".yml"
}

// key tells sources apart: two ways to write one path are the same recipe.
func (s source) key() string {
	if abs, err := filepath.Abs(s.path); err == nil && !s.inner {
		return abs
	}
	return s.path
}

func sourceOf(nameOrPath string) source {
	if IsFile(nameOrPath) {
		return source{path: nameOrPath}
	}
	return source{path: nameOrPath + ".yaml", inner: true}
}

// relative resolves the argument of extends: as in Open, but a path is relative to the file that says it.
func (s source) relative(nameOrPath string) source {
	if !IsFile(nameOrPath) || filepath.IsAbs(nameOrPath) {
		return sourceOf(nameOrPath)
	}
	return source{path: filepath.Join(filepath.Dir(s.path), nameOrPath)}
}

func (s source) read(limit int64) ([]byte, error) {
	if !s.inner {
		return readFile(s.path, limit)
	}
	data, err := embedded.ReadFile(s.path)
	if err != nil {
		return nil, fmt.Errorf("no embedded %s (there are: %s): %w", s.path, strings.Join(Names(), ", "), fs.ErrNotExist)
	}
	return data, nil
}

func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", path)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("read %s: %d bytes, the limit is %d", path, info.Size(), limit)
	}
	return os.ReadFile(path)
}
