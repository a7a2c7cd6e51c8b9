package bb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ModulesDir is a folder of a source tree that may carry the Go modules it needs, laid out as a module proxy
// (go.dev/ref/mod#goproxy-protocol). Where it exists, modules come from nowhere else.
const ModulesDir = ".modules"

// Sources lists the files of picolab's source tree that the commands are made of, relative to its root, sorted.
func Sources(ctx context.Context, opt Options) ([]string, error) {
	b, err := newBuilder(ctx, opt)
	if err != nil {
		return nil, fmt.Errorf("list sources: %w", err)
	}
	files := []string{"go.mod", "go.sum"}
	for p, pkg := range b.source.packages {
		embedded, err := embeds(pkg)
		if err != nil {
			return nil, fmt.Errorf("list sources of %s: %w", p, err)
		}
		for _, name := range slices.Concat(pkg.GoFiles, pkg.SFiles, pkg.HFiles, pkg.SysoFiles, embedded) {
			files = append(files, filepath.Join(strings.TrimPrefix(p, Module+"/"), name))
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// GoVersion is that of the go command that would compile, "go1.26.0".
func GoVersion(ctx context.Context, moduleDir string) (string, error) {
	t, err := findToolchain(ctx, moduleDir)
	return t.version, err
}

// Modules fills dir with the Go modules that the commands need, as a module proxy. They come from the user's module cache,
// else from where the user's settings say.
func Modules(ctx context.Context, opt Options, dir string) error {
	b, err := newBuilder(ctx, opt)
	if err != nil {
		return fmt.Errorf("gather Go modules: %w", err)
	}
	scratch := filepath.Join(dir, ".cache")
	args := append([]string{"list", "-deps", "-tags=" + tags, "-f", "{{.ImportPath}}"}, b.commands()...)
	cmd := goCommand(ctx, b.ModuleDir, args...)
	cmd.Env = append(append(os.Environ(), b.environ()...), "GOMODCACHE="+scratch, "GOFLAGS=-mod=readonly -modcacherw", "GOPROXY="+b.nearProxy())
	if _, err := output(ctx, cmd); err != nil {
		return fmt.Errorf("gather Go modules: %w", err)
	}
	if err := keepProxyFiles(filepath.Join(scratch, "cache", "download"), dir); err != nil {
		return fmt.Errorf("gather Go modules: %w", err)
	}
	return os.RemoveAll(scratch)
}

// nearProxy puts the user's module cache, which is laid out as a proxy, before the user's own choice.
func (b *builder) nearProxy() string {
	near, rest := "", "off"
	for _, s := range b.environ() { // later settings win
		if dir, ok := strings.CutPrefix(s, "GOMODCACHE="); ok {
			near = "file://" + filepath.Join(dir, "cache", "download") + ","
		}
		if proxy, ok := strings.CutPrefix(s, "GOPROXY="); ok {
			rest = proxy
		}
	}
	return near + rest
}

// keepProxyFiles moves what a proxy serves, and leaves locks and digests.
func keepProxyFiles(from, to string) error {
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !slices.Contains([]string{".mod", ".zip"}, filepath.Ext(path)) {
			return err
		}
		target := filepath.Join(to, path[len(from):])
		return errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), os.Rename(path, target))
	})
	if errors.Is(err, fs.ErrNotExist) { // commands of the standard library alone
		return nil
	}
	return err
}

// carried is the setting for modules in the source tree, empty when it has none.
func (b *builder) carried() []string {
	dir := filepath.Join(b.ModuleDir, ModulesDir)
	if _, err := os.Stat(dir); err != nil {
		return nil
	}
	return []string{"GOPROXY=file://" + dir, "GOSUMDB=off", "GONOPROXY=none", "GOPRIVATE="} // go.sum has every digest
}
