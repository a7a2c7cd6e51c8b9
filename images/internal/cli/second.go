package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"picolab/images/assemble"
	"picolab/images/manifest"
	"picolab/recipes"
	"picolab/recipes/fetch"
	"picolab/recipes/lock"
)

// runAgain runs this program, by the name it was called.
func runAgain(ctx context.Context, dir string, env, args []string) error {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = append([]string{os.Args[0]}, args...)
	cmd.Env, cmd.Dir, cmd.Stderr = env, dir, &stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Run(); err != nil {
		return errors.Join(ctx.Err(), fmt.Errorf("second build: %w\n%s", err, strings.TrimSpace(stderr.String())))
	}
	return nil
}

func (o *verifyOptions) recipeName(m *manifest.Manifest) string {
	switch {
	case o.recipe == "":
		return m.Name
	case recipes.IsFile(o.recipe):
		if abs, err := filepath.Abs(o.recipe); err == nil { // the second build has another working directory
			return abs
		}
	}
	return o.recipe
}

// findLock returns a file with the lock that the image was built from: the flag's, the recipe's, or the renewed copy
// that --refresh-stale left beside the image.
func (o *verifyOptions) findLock(m *manifest.Manifest, scratch string) (string, error) {
	if o.lock != "" {
		return filepath.Abs(o.lock)
	}
	name := o.recipeName(m)
	r, err := recipes.Open(name)
	if err != nil {
		return "", err
	}
	l, err := lock.Open(name, r)
	if err != nil {
		return "", err
	}
	if l.Digest() != m.Lock {
		path := assemble.RefreshedLock(filepath.Dir(m.Dir()), r, l)
		if l, err = assemble.ReadLock(path, r); err != nil || l.Digest() != m.Lock {
			return "", fmt.Errorf("the image was built from lock %.12s, recipe %s has another: build the image again, or name its lock with --lock", m.Lock, name)
		}
	}
	file := filepath.Join(scratch, "recipe.lock")
	return file, os.WriteFile(file, l.Encode(), 0o644)
}

// storeDir is the store that both builds use: the second one has another home.
func (o *verifyOptions) storeDir() (string, error) {
	s, err := fetch.Open(o.cache)
	if err != nil {
		return "", err
	}
	return filepath.Abs(s.Path())
}

// sourceSkip are directories of a source tree that are not sources.
var sourceSkip = []string{".git", "build"}

// copySource copies the source tree: the second build's is in another folder.
func copySource(ctx context.Context, from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		rel := strings.TrimPrefix(path[len(from):], "/")
		switch {
		case d.IsDir() && slices.Contains(sourceSkip, rel):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		case !d.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) { // an editor's temporary file
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o600)
	})
}

// otherEnvironment is unlike this process's in all that must not matter: home, language, time zone, number of CPUs, Go's
// build cache. What says where Go modules come from stays: modules are downloads, verified by go.sum.
func otherEnvironment(ctx context.Context, module, scratch string) ([]string, error) {
	names := []string{"GOMODCACHE", "GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOINSECURE", "GOVCS", "GOAUTH"}
	cmd := exec.CommandContext(ctx, "go", append([]string{"env", "-json"}, names...)...)
	cmd.Dir = module
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	var vars map[string]string
	if err := json.Unmarshal(out, &vars); err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	home := filepath.Join(scratch, "home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	env := []string{"HOME=" + home, "GOCACHE=" + filepath.Join(scratch, "gocache"), "TMPDIR=" + home, "PATH=" + os.Getenv("PATH"),
		"TZ=Asia/Kathmandu", "LANG=tr_TR.UTF-8", "LC_ALL=tr_TR.UTF-8", "GOMAXPROCS=3", "USER=another"}
	for _, name := range names {
		if vars[name] != "" {
			env = append(env, name+"="+vars[name])
		}
	}
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "PICOLAB_MIRROR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env, nil
}
