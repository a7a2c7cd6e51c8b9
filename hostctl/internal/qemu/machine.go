package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"picolab/hostctl/internal/proc"
)

// DefaultDeadline is the time QEMU has until QMP answers. It answers within 0.2 s; the rest is for a loaded machine.
const DefaultDeadline = 30 * time.Second

// StartOptions say how to run QEMU.
type StartOptions struct {
	Deadline time.Duration // for QMP to answer; 0 means DefaultDeadline
	QMPLog   io.Writer     // see ConnectOptions
	Log      func(string)  // told the pasteable command line
	Env      []string      // added to this process's
	Wrap     []string      // command put in front, such as "chroot", dir
	Stderr   io.Writer     // what QEMU writes to standard error; its last lines are in errors in any case
}

// Machine is a running QEMU.
type Machine struct {
	Monitor Monitor
	Argv    []string // as run, program included
	p       *proc.Process
}

// Start runs QEMU and waits until QMP answers. A QEMU that ends before that is an error with what it wrote to standard
// error. The end of ctx, now or later, ends QEMU. Stop must be called.
func Start(ctx context.Context, c Config, o StartOptions) (*Machine, error) {
	if c.QMPSocket == "" {
		return nil, errors.New("start qemu: no QMP socket given")
	}
	args, err := Cmdline(c)
	if err != nil {
		return nil, err
	}
	m := &Machine{Argv: append(append(append([]string(nil), o.Wrap...), or(c.Binary, DefaultBinary)), args...)}
	m.p, err = proc.Start(ctx, proc.Cmd{
		Path: m.Argv[0], Args: m.Argv[1:], Env: append(os.Environ(), o.Env...), Stderr: o.Stderr, Log: o.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("start qemu %s: %w", c.Name, err)
	}
	if m.Monitor, err = m.connect(ctx, c.QMPSocket, o); err != nil {
		m.p.Kill(0)
		return nil, fmt.Errorf("start qemu %s: %w", c.Name, err)
	}
	return m, nil
}

var errEnded = errors.New("qemu ended")

// connect gives up as soon as QEMU has ended, and then says what it died of.
func (m *Machine) connect(ctx context.Context, socket string, o StartOptions) (Monitor, error) {
	deadline := o.Deadline
	if deadline == 0 {
		deadline = DefaultDeadline
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	ctx, ended := context.WithCancelCause(ctx)
	defer ended(nil)
	go func() {
		select {
		case <-m.p.Done():
			ended(errEnded)
		case <-ctx.Done():
		}
	}()
	mon, err := Connect(ctx, socket, ConnectOptions{Log: o.QMPLog})
	switch {
	case err == nil:
		return mon, nil
	case errors.Is(err, errEnded) || errors.Is(err, ErrClosed):
		// A closed connection is QEMU on its way out.
		m.p.Kill(time.Second)
		return nil, m.early()
	}
	return nil, fmt.Errorf("%w; qemu wrote: %q", err, m.p.Stderr())
}

// early is the error of a QEMU that ended before it was asked to; status 0 is one too.
func (m *Machine) early() error {
	if err := m.p.Wait(); err != nil {
		return fmt.Errorf("%w before QMP answered: %w", errEnded, err)
	}
	return fmt.Errorf("%w with status 0 before QMP answered: %q", errEnded, m.p.Stderr())
}

// Wait waits for QEMU to end. Exit status 0 is no error; others are *proc.ExitError.
func (m *Machine) Wait() error { return m.p.Wait() }

// Done is closed when QEMU has ended.
func (m *Machine) Done() <-chan struct{} { return m.p.Done() }

// Pid is QEMU's, or its wrapper's.
func (m *Machine) Pid() int { return m.p.Pid() }

// Stderr is the last lines QEMU wrote to standard error.
func (m *Machine) Stderr() string { return m.p.Stderr() }

// Stop asks QEMU to quit, kills it after the grace time, and closes the monitor. It may be called twice.
func (m *Machine) Stop(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	// An error means that it is stuck or gone; both are dealt with below.
	_ = m.Monitor.Run(ctx, "quit", nil, nil)
	select {
	case <-m.p.Done():
	case <-ctx.Done():
		m.p.Kill(0)
	}
	m.Monitor.Close()
}
