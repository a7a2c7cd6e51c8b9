package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"picolab/hostctl/internal/proc"
)

// maxPayload bounds what is copied into memory three times on its way inside.
const maxPayload = 64 << 20

const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC

// plan is what stage one is told, as JSON in a memfd at descriptor planFD.
type plan struct {
	Root     string
	Binds    []Bind
	Hostname string
	Entry    string
	Payload  []byte
	Env      []string
	GraceMS  int64
	Detach   bool
	Modules  bool
	UserNS   bool
}

// Start starts the sandbox and returns once the entry function's process is running. When ctx ends the entry gets SIGTERM, and
// SIGKILL after the grace time. Wait must be called, except for a detached sandbox.
func Start(ctx context.Context, spec Spec) (*Sandbox, error) {
	p, err := spec.plan()
	if err != nil {
		return nil, fmt.Errorf("start sandbox: %w", err)
	}
	s, err := start(ctx, spec, p)
	if err != nil {
		return nil, fmt.Errorf("start sandbox: %w", err)
	}
	return s, nil
}

func (spec Spec) plan() (*plan, error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	root, err := filepath.Abs(spec.Root)
	if err == nil {
		root, err = filepath.EvalSymlinks(root)
	}
	if err != nil {
		return nil, fmt.Errorf("resolve host root: %w", err)
	}
	p := &plan{Root: root, Hostname: spec.Hostname, Entry: spec.Entry, Payload: spec.Payload, Env: spec.Env,
		GraceMS: DefaultGrace.Milliseconds(), Detach: spec.Detach, Modules: spec.Modules, UserNS: spec.UserNS || !mayMount()}
	if spec.Grace > 0 {
		p.GraceMS = spec.Grace.Milliseconds()
	}
	if p.Hostname == "" {
		p.Hostname = "picolab"
	}
	for _, b := range spec.Binds {
		// Relative to this process's folder, which stage one does not share.
		if b.Source, err = filepath.Abs(b.Source); err != nil {
			return nil, fmt.Errorf("resolve bind: %w", err)
		}
		p.Binds = append(p.Binds, b)
	}
	return p, nil
}

func (spec Spec) validate() error {
	if _, ok := entries[spec.Entry]; !ok {
		return fmt.Errorf("entry %q is not registered", spec.Entry)
	}
	if len(spec.Payload) > maxPayload {
		return fmt.Errorf("payload of %d bytes is over the limit of %d", len(spec.Payload), maxPayload)
	}
	for _, b := range spec.Binds {
		if filepath.Clean(b.Target) != b.Target || !strings.HasPrefix(b.Target, "/run/") && !strings.HasPrefix(b.Target, "/tmp/") {
			return fmt.Errorf("bind target %q is not a clean path under /run or /tmp", b.Target)
		}
	}
	if spec.Detach {
		return spec.validateDetached()
	}
	return nil
}

func (spec Spec) validateDetached() error {
	if spec.Stdin != nil {
		return errors.New("a detached sandbox cannot read from its caller")
	}
	for _, w := range []io.Writer{spec.Stdout, spec.Stderr} {
		if _, file := w.(*os.File); w != nil && !file {
			return errors.New("a detached sandbox can write only to files")
		}
	}
	return nil
}

// start acquires pipes and the process; everything acquired is released on failure.
func start(ctx context.Context, spec Spec, p *plan) (_ *Sandbox, err error) {
	planFile, err := memfile(p)
	if err != nil {
		return nil, err
	}
	defer planFile.Close()
	statusR, statusW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer statusR.Close()
	defer statusW.Close()
	lifeR, lifeW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer lifeR.Close()

	s := &Sandbox{lifeline: lifeW}
	s.first, err = proc.Start(context.WithoutCancel(ctx), spec.command(p, planFile, statusW, lifeR))
	if err != nil {
		lifeW.Close()
		return nil, explainClone(err, p.UserNS)
	}
	statusW.Close()
	if err := s.ready(ctx, statusR); err != nil {
		s.Kill()
		return nil, err
	}
	if p.Detach {
		lifeW.Close()
		return s, nil
	}
	go s.forward(ctx)
	return s, nil
}

func (spec Spec) command(p *plan, planFile, statusW, lifeR *os.File) proc.Cmd {
	return proc.Cmd{
		Path: "/proc/self/exe", Name: initName, Args: []string{p.Entry},
		Stdin: nonTerminal(spec.Stdin), Stdout: spec.Stdout, Stderr: spec.Stderr,
		ExtraFiles: []*os.File{planFile, statusW, lifeR},
		Detach:     spec.Detach, Log: spec.Log,
		Sys: func(a *syscall.SysProcAttr) {
			a.Cloneflags |= namespaces
			if p.UserNS {
				a.Cloneflags |= unix.CLONE_NEWUSER
				a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
				a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
				a.GidMappingsEnableSetgroups = false
			}
		},
	}
}

// ready waits for stage one's verdict: an empty message and the end of the pipe mean that the entry runs.
func (s *Sandbox) ready(ctx context.Context, status *os.File) error {
	stop := context.AfterFunc(ctx, func() { _ = s.first.Signal(syscall.SIGKILL) })
	defer stop()
	msg, err := io.ReadAll(status)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("read status: %w", err)
	case bytes.Equal(msg, []byte(readyMessage)):
		return nil
	case len(msg) == 0:
		return fmt.Errorf("the first process ended before it was ready: %v", s.first.Wait())
	}
	var d DeniedError
	if err := json.Unmarshal(msg, &d); err != nil {
		return fmt.Errorf("read status %q: %w", msg, err)
	}
	return &d
}

// forward turns the end of the context into SIGTERM, and PID 1's own grace period into an upper bound.
func (s *Sandbox) forward(ctx context.Context) {
	select {
	case <-s.first.Done():
	case <-ctx.Done():
		_ = s.first.Signal(syscall.SIGTERM)
	}
}

// Signal sends SIGINT or SIGTERM to the entry, through PID 1; anything else goes to PID 1 itself.
func (s *Sandbox) Signal(sig os.Signal) error { return s.first.Signal(sig) }

// Done is closed when everything inside has ended.
func (s *Sandbox) Done() <-chan struct{} { return s.first.Done() }

// Wait waits for the end and gives the entry's exit code (128 + signal when a signal ended it, 137 when killed). err is
// for failures of the sandbox itself.
func (s *Sandbox) Wait() (int, error) {
	err := s.first.Wait()
	s.once.Do(func() {
		s.lifeline.Close()
		var x *proc.ExitError
		if errors.As(err, &x) {
			s.code = x.Code
		} else {
			s.err = err
		}
	})
	return s.code, s.err
}

// Kill ends everything inside at once and waits for it.
func (s *Sandbox) Kill() {
	s.first.Kill(0)
	s.lifeline.Close()
}

// memfile is an anonymous file with the plan: unlike a pipe it has no size limit, unlike a temporary file no name.
func memfile(p *plan) (*os.File, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("picolab-plan", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "picolab-plan")
	if _, err := f.Write(data); err != nil {
		f.Close()
		return nil, fmt.Errorf("write plan: %w", err)
	}
	return f, nil
}

// nonTerminal hides a terminal behind a pipe: the sandbox is not in its foreground process group and would be stopped
// for reading from it.
func nonTerminal(r io.Reader) io.Reader {
	f, ok := r.(*os.File)
	if !ok {
		return r
	}
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return r
	}
	return struct{ io.Reader }{f}
}
