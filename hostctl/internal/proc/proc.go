// Package proc starts every child process of hostctl. A child is the leader of its own process group, is killed by the
// kernel when the thread that started it ends (prctl(2), PR_SET_PDEATHSIG), and reports failure with the last lines it
// wrote to standard error and the command line as it would be typed in a shell.
//
// The parent-death signal follows the parent's thread, not its process, so each child is started from a goroutine that
// stays locked to its thread until the child has been waited for. That costs one thread a child; children are few.
package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// DefaultGrace is the time between SIGTERM and SIGKILL when a context ends or Kill is given a negative grace.
const DefaultGrace = 2 * time.Second

// Cmd describes a child process. The zero value of every field but Path is usable.
type Cmd struct {
	Path       string   // program; looked up in PATH when it has no slash
	Args       []string // arguments after the program's name
	Name       string   // argv[0]; Path when empty
	Dir        string   // working directory; the caller's when empty
	Env        []string // environment; the caller's when nil
	Stdin      io.Reader
	Stdout     io.Writer // discarded when nil
	Stderr     io.Writer // the last lines are kept for the error in any case
	ExtraFiles []*os.File
	Deadline   time.Duration // time allowed from Start; 0 means none
	Grace      time.Duration // SIGTERM to SIGKILL; 0 means DefaultGrace
	Log        func(string)  // told the pasteable command line before the start
	// Detach lets the child outlive this process: an own session, no parent-death signal, and Stderr (which should be
	// nil or a file) is given to it as it is, so nothing is kept of it.
	Detach bool
	// OnThread runs on the locked thread just before the fork: what it sets for the thread (no_new_privs, the
	// capability bounding set, a namespace) is inherited by the child. The thread ends with the child.
	OnThread func() error
	Sys      func(*syscall.SysProcAttr) // last change of the attributes, for clone flags and id maps
}

// Process is a running child.
type Process struct {
	cmd    *exec.Cmd
	name   string
	stderr *tail
	grace  time.Duration
	done   chan struct{}
	err    error // valid once done is closed

	mu    sync.Mutex
	cause error // why we killed it
}

// Start starts the child. When ctx ends or the deadline passes the child's whole group gets SIGTERM and, after the
// grace time, SIGKILL. Wait must be called; it may be called from any goroutine, any number of times.
func Start(ctx context.Context, c Cmd) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	p := c.process()
	if c.Log != nil {
		c.Log(c.String())
	}
	started := make(chan error, 1)
	go p.run(c, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	go p.watch(ctx, c.Deadline)
	return p, nil
}

// Run starts the child and waits for it.
func Run(ctx context.Context, c Cmd) error {
	p, err := Start(ctx, c)
	if err != nil {
		return err
	}
	return p.Wait()
}

func (c Cmd) process() *Process {
	p := &Process{name: c.Path, stderr: newTail(c.Stderr), grace: c.Grace, done: make(chan struct{})}
	if p.grace == 0 {
		p.grace = DefaultGrace
	}
	x := exec.Command(c.Path, c.Args...)
	if c.Name != "" {
		x.Args[0] = c.Name
	}
	x.Dir, x.Env, x.Stdin, x.Stdout, x.Stderr, x.ExtraFiles = c.Dir, c.Env, c.Stdin, c.Stdout, p.stderr, c.ExtraFiles
	x.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if c.Detach {
		x.Stderr, x.SysProcAttr = c.Stderr, &syscall.SysProcAttr{Setsid: true}
	}
	// A grandchild that kept our pipe open must not hold Wait for ever.
	x.WaitDelay = time.Second
	if c.Sys != nil {
		c.Sys(x.SysProcAttr)
	}
	p.cmd = x
	return p
}

// run owns the thread: it is never unlocked, so the thread ends with the goroutine, after the child.
func (p *Process) run(c Cmd, started chan<- error) {
	runtime.LockOSThread()
	if c.OnThread != nil {
		if err := c.OnThread(); err != nil {
			started <- err
			return
		}
	}
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	err = p.cmd.Wait()
	p.mu.Lock()
	cause := p.cause
	p.mu.Unlock()
	p.err = p.failure(err, cause)
	close(p.done)
}

func (p *Process) watch(ctx context.Context, deadline time.Duration) {
	var expired <-chan time.Time
	if deadline > 0 {
		t := time.NewTimer(deadline)
		defer t.Stop()
		expired = t.C
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		p.kill(p.grace, context.Cause(ctx))
	case <-expired:
		p.kill(p.grace, fmt.Errorf("%w after %v", context.DeadlineExceeded, deadline))
	}
}

// Wait waits for the child to end and for its output to be read. The error is nil for exit status 0, else *ExitError.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Done is closed when the child has ended and been waited for.
func (p *Process) Done() <-chan struct{} { return p.done }

// Pid is the child's process id, also its process group's.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Stderr is what is kept of the child's standard error: its last 20 lines.
func (p *Process) Stderr() string { return p.stderr.String() }

// Signal sends a signal to the child alone, not to its group. A child that has ended is not an error.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// Kill sends SIGTERM to the child's group, SIGKILL once grace has passed (at once when it is 0), and waits for the end.
func (p *Process) Kill(grace time.Duration) {
	if grace < 0 {
		grace = p.grace
	}
	p.kill(grace, errKilled)
}

func (p *Process) kill(grace time.Duration, cause error) {
	p.mu.Lock()
	if p.cause == nil {
		p.cause = cause
	}
	p.mu.Unlock()
	if grace > 0 {
		p.signalGroup(syscall.SIGTERM)
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-p.done:
			return
		case <-t.C:
		}
	}
	p.signalGroup(syscall.SIGKILL)
	<-p.done
}

// signalGroup does nothing once the child is reaped: its id may be somebody else's by then.
func (p *Process) signalGroup(s syscall.Signal) {
	select {
	case <-p.done:
	default:
		// The error says only that the group is gone.
		_ = syscall.Kill(-p.Pid(), s)
	}
}
