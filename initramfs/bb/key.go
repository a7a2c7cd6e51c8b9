package bb

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"go/build"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// recipeVersion is part of every key: raise it when this package makes something else of the same sources.
const recipeVersion = "picolab busybox 1"

// key names the result: everything the binary depends on goes in.
func (b *builder) key() string {
	return digest(recipeVersion, b.go_.version, strings.Join(b.commands(), " "), tags, string(b.sums), b.source.sum)
}

// generatedKey names gobusybox's share of the sources, which outlives changes to our own.
func (b *builder) generatedKey() string {
	return digest(recipeVersion, "generated", b.go_.version, strings.Join(b.other, " "), tags, string(b.sums))
}

// digest is the SHA-256, in hex, of parts, each behind its length.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// closure is what our own commands are made of.
type closure struct {
	packages map[string]*build.Package // by import path
	sum      string                    // digest over names and contents of all source files
}

// ours says whether an import path is in our module.
func ours(importPath string) bool { return strings.HasPrefix(importPath, Module+"/") }

// sourceClosure finds every package of our module that commands import, directly or not, and hashes their sources.
// It reads import clauses itself: `go list` would take longer than all the rest of a build that changes nothing.
func sourceClosure(moduleDir string, commands []string) (*closure, error) {
	c := &closure{packages: make(map[string]*build.Package)}
	queue := slices.Clone(commands)
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		if c.packages[p] != nil {
			continue
		}
		pkg, err := target.ImportDir(filepath.Join(moduleDir, strings.TrimPrefix(p, Module)), 0)
		if err != nil {
			return nil, fmt.Errorf("read package %s: %w", p, err)
		}
		c.packages[p] = pkg
		queue = append(queue, slices.DeleteFunc(slices.Clone(pkg.Imports), func(i string) bool { return !ours(i) })...)
	}
	return c, c.hash()
}

// target is the platform of the image, for build constraints; its JoinPath keeps go/build from asking the go command.
var target = func() *build.Context {
	ctx := build.Default
	ctx.GOOS, ctx.GOARCH, ctx.CgoEnabled = "linux", "amd64", false
	ctx.BuildTags = strings.Split(tags, ",")
	ctx.ToolTags = nil
	ctx.JoinPath = filepath.Join
	return &ctx
}()

func (c *closure) hash() error {
	h := sha256.New()
	for _, p := range sortedKeys(c.packages) {
		pkg := c.packages[p]
		files := slices.Concat(pkg.GoFiles, pkg.SFiles, pkg.HFiles, pkg.SysoFiles)
		embedded, err := embeds(pkg)
		if err != nil {
			return fmt.Errorf("package %s: %w", p, err)
		}
		for _, name := range slices.Sorted(slices.Values(append(files, embedded...))) {
			if err := hashFile(h, path.Join(p, name), filepath.Join(pkg.Dir, name)); err != nil {
				return err
			}
		}
	}
	c.sum = hex.EncodeToString(h.Sum(nil))
	return nil
}

// embeds lists the files that pkg's go:embed patterns may take: a superset, for hashing.
func embeds(pkg *build.Package) ([]string, error) {
	var files []string
	for _, pattern := range pkg.EmbedPatterns {
		matches, err := filepath.Glob(filepath.Join(pkg.Dir, filepath.FromSlash(strings.TrimPrefix(pattern, "all:"))))
		if err != nil {
			return nil, fmt.Errorf("embed %s: %w", pattern, err)
		}
		for _, m := range matches {
			err := filepath.WalkDir(m, func(p string, d fs.DirEntry, err error) error {
				if err == nil && d.Type().IsRegular() {
					rel, _ := filepath.Rel(pkg.Dir, p) // both absolute
					files = append(files, rel)
				}
				return err
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(files))), nil
}

func hashFile(h hash.Hash, name, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	fmt.Fprintf(h, "%d:%s%x", len(name), name, sum.Sum(nil))
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
