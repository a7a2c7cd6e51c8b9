package bb

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"picolab/initramfs/tree"
)

// commands is a small busybox: one command of u-root, one of the test's own.
var commands = []string{"github.com/u-root/u-root/cmds/core/echo", "picolab/cmd/hello"}

// testModule makes a source tree with the real module's go.mod and go.sum.
func testModule(t *testing.T) string {
	t.Helper()
	root, err := FindModule(".")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := maps.Clone(sources)
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(data)
	}
	writeTree(t, dir, files)
	return dir
}

func testOptions(t *testing.T) Options {
	t.Helper()
	if testing.Short() {
		t.Skip("compiles a busybox")
	}
	return Options{Commands: commands, ModuleDir: testModule(t), Cache: t.TempDir()}
}

// install writes the busybox to a directory and returns a function that runs a command of it.
func install(t *testing.T, b *Busybox) func(name string, args ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	if err := b.Tree.WriteDir(t.Context(), dir, tree.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return func(name string, args ...string) string {
		out, err := exec.Command(filepath.Join(dir, Dir, name), args...).CombinedOutput()
		if err != nil {
			t.Errorf("%s %q: %v", name, args, err)
		}
		return string(out)
	}
}

func TestBuildRuns(t *testing.T) {
	opt := testOptions(t)
	box, err := Build(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	run := install(t, box)
	if got := run("echo", "a", "b"); got != "a b\n" {
		t.Errorf("echo says %q", got)
	}
	if got := run("hello"); !strings.Contains(got, "hello there") {
		t.Errorf("hello says %q", got)
	}
	if got := run(binary, "echo", "x"); got != "x\n" {
		t.Errorf("bb echo says %q", got)
	}
	if len(box.Modules) == 0 || !strings.HasPrefix(box.GoVersion, "go1.") {
		t.Errorf("modules %v, Go %q", box.Modules, box.GoVersion)
	}
	t.Run("second build is cached", func(t *testing.T) {
		again, err := Build(t.Context(), opt)
		if err != nil || !again.Cached || again.SHA256 != box.SHA256 {
			t.Errorf("cached %v, error %v", again, err)
		}
	})
	t.Run("a change of one file", func(t *testing.T) {
		writeTree(t, opt.ModuleDir, map[string]string{"greet/text": "again"})
		changed, err := Build(t.Context(), opt)
		if err != nil || changed.Cached || changed.SHA256 == box.SHA256 {
			t.Fatalf("not rebuilt: %v", err)
		}
		if got := install(t, changed)("hello"); !strings.Contains(got, "hello again") {
			t.Errorf("hello says %q after the change", got)
		}
	})
	t.Run("a mistake in the sources", func(t *testing.T) {
		writeTree(t, opt.ModuleDir, map[string]string{"greet/greet.go": "package greet\n\nfunc Say(s int) {}\n"})
		_, err := Build(t.Context(), opt)
		if err == nil || !strings.Contains(err.Error(), "cmd/hello/main.go:5") {
			t.Errorf("error %v, want the compiler's with the place", err)
		}
		noLeftovers(t, opt.Cache)
	})
}

// noLeftovers fails when a cache has anything half-made.
func noLeftovers(t *testing.T, cache string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(cache, "*", ".new-*"))
	if err != nil || len(found) > 0 {
		t.Errorf("left behind: %v, %v", found, err)
	}
}

func TestBuildIsReproducible(t *testing.T) {
	opt := testOptions(t)
	first, err := Build(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	other := testOptions(t) // another folder for sources and cache
	t.Setenv("GOMAXPROCS", "1")
	t.Setenv("GOFLAGS", "-race -tags=extra")
	t.Setenv("GOAMD64", "v3")
	t.Setenv("CGO_ENABLED", "1")
	t.Setenv("TZ", "Asia/Kathmandu")
	t.Chdir(t.TempDir())
	second, err := Build(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if first.SHA256 != second.SHA256 {
		t.Errorf("two builds: %s, %s", first.SHA256, second.SHA256)
	}
	data := content(t, first)
	for _, leak := range []string{opt.ModuleDir, opt.Cache} {
		if strings.Contains(data, leak) {
			t.Errorf("the binary has the path %s", leak)
		}
	}
}

func content(t *testing.T, b *Busybox) string {
	t.Helper()
	e, _ := b.Tree.Get(Dir + "/" + binary)
	r, err := e.Blob.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestBuildTwiceAtOnce(t *testing.T) {
	opt := testOptions(t)
	var wg sync.WaitGroup
	sums := make([]string, 2)
	for i := range sums {
		wg.Go(func() {
			box, err := Build(t.Context(), opt)
			if err != nil {
				t.Error(err)
				return
			}
			sums[i] = box.SHA256
		})
	}
	wg.Wait()
	if sums[0] != sums[1] || sums[0] == "" {
		t.Errorf("digests %q", sums)
	}
	noLeftovers(t, opt.Cache)
}

func TestBuildInterrupted(t *testing.T) {
	opt := testOptions(t)
	ctx, cancel := context.WithCancel(t.Context())
	opt.Progress = func(s string) {
		if strings.HasPrefix(s, "rewriting") {
			time.AfterFunc(100*time.Millisecond, cancel)
		}
	}
	if _, err := Build(ctx, opt); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	noLeftovers(t, opt.Cache)
	opt.Progress = nil
	if _, err := Build(t.Context(), opt); err != nil {
		t.Errorf("the build after it: %v", err)
	}
}

func TestBuildWithoutGo(t *testing.T) {
	opt := testOptions(t)
	t.Setenv("PATH", t.TempDir())
	_, err := Build(t.Context(), opt)
	if err == nil || !strings.Contains(err.Error(), "install Go") {
		t.Errorf("error %v, want the remedy", err)
	}
}

// TestBuildMissingModule: what go.mod and the module cache lack is told with its remedy.
func TestBuildMissingModule(t *testing.T) {
	offline := testOptions(t)
	offline.Offline = true
	bare := offline
	bare.Commands, bare.ModuleDir = []string{"example.invalid/cmd/nothing", "picolab/cmd/hello"}, t.TempDir()
	writeTree(t, bare.ModuleDir, sources)
	_, err := Build(t.Context(), bare)
	if err == nil || !strings.Contains(err.Error(), "that go.mod lacks") {
		t.Errorf("error %v, want one that names go.mod", err)
	}
	t.Setenv("GOMODCACHE", t.TempDir())
	_, err = Build(t.Context(), offline)
	if err == nil || !strings.Contains(err.Error(), "go mod download") {
		t.Errorf("error %v, want one that tells how to fill the module cache", err)
	}
}
