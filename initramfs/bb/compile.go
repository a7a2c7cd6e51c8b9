package bb

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// toolchain is the go command that compiles.
type toolchain struct {
	version string // "go1.26.0"
	goroot  string
	gopath  string
	proxy   []string // settings that say where modules come from, as NAME=value
}

// passed are the go command's settings that the user decides: where modules and caches are. Everything that could
// change the output is set by environ.
var passed = []string{"GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOINSECURE", "GOVCS", "GOAUTH", "GOMODCACHE", "GOCACHE"}

// findToolchain asks the go command for its version and settings (about 10 ms).
func findToolchain(ctx context.Context, dir string) (toolchain, error) {
	cmd := goCommand(ctx, dir, append([]string{"env", "-json", "GOVERSION", "GOROOT", "GOPATH"}, passed...)...)
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	out, err := output(ctx, cmd)
	if err != nil {
		return toolchain{}, err
	}
	var vars map[string]string
	if err := json.Unmarshal(out, &vars); err != nil {
		return toolchain{}, fmt.Errorf("read go env: %w", err)
	}
	t := toolchain{version: vars["GOVERSION"], goroot: vars["GOROOT"], gopath: vars["GOPATH"]}
	for _, name := range passed {
		if vars[name] != "" {
			t.proxy = append(t.proxy, name+"="+vars[name])
		}
	}
	return t, nil
}

// name is what GOTOOLCHAIN calls it: a go command older than go.mod asks for has already chosen, and fetched, another.
func (t toolchain) name() string {
	name, _, _ := strings.Cut(t.version, " ")
	if !strings.HasPrefix(name, "go1.") {
		return "local" // a development version
	}
	return name
}

// environ is the go command's environment beyond the process's: fixed, so that nobody's settings reach the binary.
func (b *builder) environ() []string {
	env := append([]string{}, b.go_.proxy...)
	env = append(env, "GOENV=off", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1", "CGO_ENABLED=0", "GO111MODULE=on",
		"GOFLAGS=-mod=readonly", "GOWORK=off", "GOTOOLCHAIN="+b.go_.name(), "GOEXPERIMENT=", "GODEBUG=", "GOFIPS140=off",
		"GOPACKAGESDRIVER=off", "GOPATH="+b.go_.gopath, "LC_ALL=C")
	if b.GoCache != "" {
		env = append(env, "GOCACHE="+b.GoCache)
	}
	if b.Offline {
		env = append(env, "GOPROXY=off")
	}
	return append(env, b.carried()...)
}

// compile makes the cache entry: the binary and the list of modules in it.
func (b *builder) compile(ctx context.Context, dir string) error {
	scratch := filepath.Join(dir, "overlay")
	if err := os.Mkdir(scratch, 0o700); err != nil {
		return err
	}
	o, err := b.overlay(ctx)
	if err != nil {
		return err
	}
	description, err := o.write(scratch, b.ModuleDir)
	if err != nil {
		return err
	}
	out := filepath.Join(dir, binary)
	cmd := goCommand(ctx, b.ModuleDir, "build", "-overlay="+description, "-trimpath", "-buildvcs=false", "-tags="+tags,
		"-ldflags=-s -w -buildid=", "-o", out, mainPath)
	cmd.Env = append(os.Environ(), b.environ()...)
	if _, err := output(ctx, cmd); err != nil {
		return fmt.Errorf("compile: %w", rewordedError{err, withRemedy(o.original(err.Error()))})
	}
	if err := os.Chmod(out, 0o755); err != nil { // the linker's mode depends on the umask
		return err
	}
	return errors.Join(os.RemoveAll(scratch), writeModules(out, filepath.Join(dir, modulesFile)))
}

// rewordedError is an error that says the same in other words.
type rewordedError struct {
	error
	text string
}

func (e rewordedError) Error() string { return e.text }
func (e rewordedError) Unwrap() error { return e.error }

// overlay gathers the rewritten sources.
func (b *builder) overlay(ctx context.Context) (*overlay, error) {
	gen, err := b.generated(ctx)
	if err != nil {
		return nil, err
	}
	o := new(overlay)
	return o, errors.Join(b.overlayGenerated(o, gen), b.overlayOwn(o))
}

// writeModules records which modules the linker put into the binary.
func writeModules(bin, file string) error {
	info, err := buildinfo.ReadFile(bin)
	if err != nil {
		return fmt.Errorf("read modules of %s: %w", bin, err)
	}
	var deps []Dependency
	for _, d := range info.Deps {
		if d.Replace != nil {
			d = d.Replace
		}
		deps = append(deps, Dependency{d.Path, d.Version, d.Sum})
	}
	data, err := json.Marshal(deps)
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}

// goCommand is the go command with a process group of its own, which ends with ctx.
func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// output runs cmd; its error carries the end of what it said.
func output(ctx context.Context, cmd *exec.Cmd) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		return nil, errors.New("the go command is not in PATH: the busybox is compiled on this machine; install Go and put its bin directory in PATH")
	case err != nil:
		return nil, fmt.Errorf("go %s: %w\n%s", cmd.Args[1], err, lastLines(stderr.String(), 20))
	}
	return stdout.Bytes(), nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
