package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"picolab/hostctl/internal/netdev"
	"picolab/hostctl/internal/proc"
)

// Names of the stages, as argv[0]: they show in process lists, and nobody calls hostctl by them by accident. What follows
// the slash is the command's name, by which a busybox that hostctl is part of finds it.
const (
	initName  = "picolab-sandbox/hostctl"
	entryName = "picolab-lab/hostctl"
)

// Descriptors that the stages inherit.
const (
	planFD     = 3
	statusFD   = 4
	lifelineFD = 5
)

const (
	readyMessage = "ready"
	exitKilled   = 128 + int(unix.SIGKILL)
	exitBroken   = 126
)

// Main must be called first in main and TestMain. When this process is a stage of a sandbox, or was started under a name
// given to RegisterProgram, it is that and never returns.
func Main() {
	switch os.Args[0] {
	case initName:
		os.Exit(initStage())
	case entryName:
		os.Exit(entryStage())
	}
	if fn, ok := programs[filepath.Base(os.Args[0])]; ok {
		os.Exit(fn())
	}
}

var programs = map[string]func() int{}

// RegisterProgram makes this program another one when it is started under that name: a copy on another machine needs
// nothing but its file. What fn returns is the exit code. It must be called before Main.
func RegisterProgram(name string, fn func() int) {
	if _, dup := programs[name]; dup {
		panic("sandbox: program " + name + " registered twice")
	}
	programs[name] = fn
}

func (p *plan) grace() time.Duration { return time.Duration(p.GraceMS) * time.Millisecond }

// initStage is PID 1.
func initStage() int {
	planFile := inherited(planFD, "plan")
	p, err := readPlan(planFile)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		return exitBroken
	}
	status := inherited(statusFD, "status")
	lifeline := inherited(lifelineFD, "lifeline")
	if p.Detach {
		lifeline.Close()
	} else {
		go watchLifeline(lifeline)
	}
	// From here on, or a signal in between would be lost: the kernel drops signals PID 1 has no handler for.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)

	entry, err := p.enter(planFile)
	if err != nil {
		report(status, err)
		return exitBroken
	}
	if _, err := io.WriteString(status, readyMessage); err != nil && !p.Detach {
		return exitBroken
	}
	status.Close()
	go forwardSignals(signals, entry, p.grace())
	if err := proc.Reap(entry); err != nil {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
	}
	return exitCode(entry.Wait())
}

// enter builds the tree, enters it and starts PID 2, which reads the plan from the same file.
func (p *plan) enter(planFile *os.File) (*proc.Process, error) {
	if err := p.mountTree(); err != nil {
		return nil, err
	}
	if err := unix.Sethostname([]byte(p.Hostname)); err != nil {
		return nil, denied("sethostname", err)
	}
	if err := netdev.Up("lo"); err != nil {
		return nil, denied("bring up lo", err)
	}
	entry, err := proc.Start(context.Background(), proc.Cmd{
		Path: "/proc/self/exe", Name: entryName, Args: []string{p.Entry},
		Dir: "/", Env: p.environment(),
		Stdin: os.Stdin, Stdout: os.Stdout,
		ExtraFiles: []*os.File{planFile},
		OnThread:   p.harden,
		Stderr:     os.Stderr,
		Detach:     true, // its own session, and standard error without a copying goroutine of ours
	})
	if errors.Is(err, unix.ENOENT) {
		err = fmt.Errorf("%w: is this program dynamically linked, and its loader not in the host root? build with CGO_ENABLED=0", err)
	}
	if err != nil {
		return nil, denied("start "+p.Entry, err)
	}
	return entry, nil
}

// environment is fixed but for the terminal type, so that a lab does not depend on the caller's shell.
func (p *plan) environment() []string {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/bbin",
		"HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8", "container=picolab",
	}
	if term, ok := os.LookupEnv("TERM"); ok {
		env = append(env, "TERM="+term)
	}
	return append(env, p.Env...)
}

// entryStage is PID 2.
func entryStage() int {
	planFile := inherited(planFD, "plan")
	p, err := readPlan(planFile)
	planFile.Close()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		return exitBroken
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	return entries[p.Entry](ctx, p.Payload)
}

// watchLifeline ends PID 1, and with it everything inside, when the last holder of the pipe's other end is gone.
func watchLifeline(r *os.File) {
	_, _ = io.Copy(io.Discard, r)
	os.Exit(exitKilled)
}

// forwardSignals passes signals to PID 2 and gives it the grace time from the first one on.
func forwardSignals(signals <-chan os.Signal, entry *proc.Process, grace time.Duration) {
	var expired <-chan time.Time
	for {
		select {
		case s := <-signals:
			_ = entry.Signal(s)
			if expired == nil {
				expired = time.After(grace)
			}
		case <-expired:
			os.Exit(exitKilled)
		}
	}
}

func exitCode(err error) int {
	var x *proc.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &x):
		return x.Code
	}
	return exitBroken
}

// readPlan reads from the start whatever the file's offset, which both stages share.
func readPlan(f *os.File) (*plan, error) {
	var p plan
	if err := json.NewDecoder(io.NewSectionReader(f, 0, 2*maxPayload)).Decode(&p); err != nil {
		return nil, fmt.Errorf("read plan: %w", err)
	}
	if _, ok := entries[p.Entry]; !ok {
		return nil, fmt.Errorf("entry %q is not registered", p.Entry)
	}
	return &p, nil
}

// inherited keeps a descriptor of ours out of the processes started in here. The number is the file's for as long as the
// file is referred to: the collector closes one that nobody holds.
func inherited(fd int, name string) *os.File {
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), name)
}

func report(status *os.File, err error) {
	var d *DeniedError
	if !errors.As(err, &d) {
		d = &DeniedError{Step: "set up", Reason: err.Error()}
	}
	// Nobody is left to tell when this fails.
	_ = json.NewEncoder(status).Encode(d)
}
