package site

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"picolab/guestagent/internal/child"

	"golang.org/x/sys/unix"
)

// exitError is how a program ended that did not end well.
type exitError struct {
	program string
	status  unix.WaitStatus
}

func (e *exitError) Error() string {
	if e.status.Signaled() {
		return fmt.Sprintf("%s was ended by signal %v", e.program, e.status.Signal())
	}
	return fmt.Sprintf("%s ended with exit code %d", e.program, e.status.ExitStatus())
}

// grace is the time a program has to end by itself.
const grace = 10 * time.Second

// command runs a program to its end, in a session of its own and without input; what it writes goes to out. The end of
// ctx ends it and all it started.
func (s *Site) command(ctx context.Context, out io.Writer, path string, args ...string) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	var copying sync.WaitGroup
	defer copying.Wait()
	defer r.Close() // something it started may keep the other end open
	p, err := s.o.Children.Start(path, append([]string{path}, args...), &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []uintptr{null.Fd(), w.Fd(), w.Fd()}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	w.Close()
	if err != nil {
		return err
	}
	read := make(chan struct{})
	copying.Go(func() { defer close(read); lines(out, r) })
	exit := await(ctx, p)
	select {
	case <-read:
	case <-time.After(time.Second):
	}
	if exit.Status.Exited() && exit.Status.ExitStatus() == 0 {
		return nil
	}
	return &exitError{path, exit.Status}
}

// await waits for a program, which is told to end when ctx does, and made to when it does not.
func await(ctx context.Context, p *child.Process) child.Exit {
	select {
	case e := <-p.Done():
		return e
	case <-ctx.Done():
	}
	_ = unix.Kill(-p.Pid, unix.SIGTERM) // gone already: then Done has it
	select {
	case e := <-p.Done():
		return e
	case <-time.After(grace):
		_ = unix.Kill(-p.Pid, unix.SIGKILL)
	}
	return <-p.Done()
}

// lines copies text, whole lines at a time, so that the console's other writers do not come between.
func lines(w io.Writer, r io.Reader) {
	for b := bufio.NewReader(r); ; {
		line, err := b.ReadSlice('\n')
		if len(line) > 0 {
			_, _ = w.Write(line) // a console that takes nothing must not stop the program
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
