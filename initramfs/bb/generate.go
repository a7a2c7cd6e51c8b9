package bb

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	gobusybox "github.com/u-root/gobusybox/src/pkg/bb"
	"github.com/u-root/gobusybox/src/pkg/bb/findpkg"
	"github.com/u-root/gobusybox/src/pkg/golang"
)

// tags are the build tags of the busybox: a gosh without its line editor, which alone would be a third of the image.
const tags = "goshsmall"

// Where gobusybox puts things below its GOPATH.
const (
	genMain     = "bb.u-root.com/bb"
	genRegister = genMain + "/pkg/bbmain"
)

// generated returns a directory with the sources gobusybox made of the commands that are not ours: SRC/IMPORTPATH.
func (b *builder) generated(ctx context.Context) (string, error) {
	entry := filepath.Join(b.Cache, "generated", b.generatedKey())
	if _, err := os.Stat(entry); err == nil {
		touch(entry)
		return entry, nil
	}
	b.progress("rewriting %d u-root commands", len(b.other))
	err := publish(entry, func(tmp string) error { return b.generate(ctx, tmp) })
	if err != nil {
		return "", fmt.Errorf("rewrite commands: %w", err)
	}
	prune(filepath.Dir(entry), keep)
	return entry, nil
}

// generate runs gobusybox in a scratch directory and keeps what is not a plain copy of a dependency. It always has one
// command, so that the main program and the registry come out too.
func (b *builder) generate(ctx context.Context, dir string) error {
	gopath := filepath.Join(dir, "gopath")
	if err := b.rewrite(ctx, gopath); err != nil {
		return err
	}
	for _, p := range append([]string{genMain, genRegister}, b.other...) {
		if err := moveGo(filepath.Join(gopath, "src", p), filepath.Join(dir, "src", p)); err != nil {
			return err
		}
	}
	return os.RemoveAll(gopath)
}

// missingModule matches what the go command says of packages it cannot find.
var missingModule = regexp.MustCompile("no required module provides|cannot find module|missing go.sum entry|could not import")

// environment is the process's, which gobusybox hands to the go command: one rewriting at a time changes it.
var environment sync.Mutex

func (b *builder) rewrite(ctx context.Context, gopath string) error {
	environment.Lock()
	defer environment.Unlock()
	defer setenv(b.environ())()
	env := golang.Default(golang.DisableCGO(), golang.WithGOOS("linux"), golang.WithGOARCH("amd64"),
		golang.WithGO111MODULE("on"), golang.WithGOROOT(b.go_.goroot), golang.WithGOPATH(b.go_.gopath), golang.WithWorkingDir(b.ModuleDir),
		golang.WithBuildTag(strings.Split(tags, ",")...))
	err := gobusybox.BuildBusybox(log.New(io.Discard, "", 0), &gobusybox.Opts{
		Env: env, LookupEnv: &findpkg.Env{}, GenSrcDir: gopath, CommandPaths: b.other, BinaryPath: "unused", GenerateOnly: true,
	})
	if err == nil {
		return ctx.Err()
	}
	return rewordedError{err, withRemedy(err.Error())}
}

// withRemedy adds to what the go command says what is to be done about it.
func withRemedy(text string) string {
	switch {
	case strings.Contains(text, "GOPROXY=off"):
		return text + "\n(offline, and the Go module cache lacks modules: run once without --offline, or go mod download)"
	case missingModule.MatchString(text):
		return text + "\n(a command needs a module that go.mod lacks: name it in tools.go and go get it)"
	}
	return text
}

// setenv sets variables and returns what undoes it.
func setenv(vars []string) (undo func()) {
	type saved struct {
		name, value string
		set         bool
	}
	var old []saved
	for _, kv := range vars {
		name, value, _ := strings.Cut(kv, "=")
		v, ok := os.LookupEnv(name)
		old = append(old, saved{name, v, ok})
		os.Setenv(name, value)
	}
	return func() {
		for _, s := range old {
			if s.set {
				os.Setenv(s.name, s.value)
			} else {
				os.Unsetenv(s.name)
			}
		}
	}
}

// moveGo moves the files, not the folders, of a package.
func moveGo(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.IsDir() {
			continue
		}
		if err := os.Rename(filepath.Join(from, f.Name()), filepath.Join(to, f.Name())); err != nil {
			return err
		}
	}
	return nil
}
