// Package child starts processes and collects them, also in a process that is PID 1 and must reap strangers: there a
// wait for any child and os/exec's own wait would steal from each other, so one reaper does all the waiting.
package child

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit is how a process ended.
type Exit struct {
	Status unix.WaitStatus
	Usage  unix.Rusage
}

// Process is a started child.
type Process struct {
	Pid  int
	done chan Exit // receives once
}

// Done receives the exit once.
func (p *Process) Done() <-chan Exit { return p.done }

// Reaper collects every child of this process. The zero Reaper is not running: children are then waited for one by one.
type Reaper struct {
	mu      sync.Mutex // held over fork and over wait: a child that dies at once is known before it is collected
	running bool
	procs   map[int]*Process
	stop    chan struct{}
	stopped chan struct{}
}

// Run collects children until Stop.
func (r *Reaper) Run() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running {
		return
	}
	r.running, r.procs = true, make(map[int]*Process)
	r.stop, r.stopped = make(chan struct{}), make(chan struct{})
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, unix.SIGCHLD)
	go func() {
		defer close(r.stopped)
		defer signal.Stop(sig)
		for {
			select {
			case <-sig:
				r.reap()
			case <-r.stop:
				return
			}
		}
	}()
}

// Stop ends a running reaper; its children are no longer collected.
func (r *Reaper) Stop() {
	close(r.stop)
	<-r.stopped
}

func (r *Reaper) reap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var e Exit
		pid, err := unix.Wait4(-1, &e.Status, unix.WNOHANG, &e.Usage)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if p, ok := r.procs[pid]; ok {
			delete(r.procs, pid)
			p.done <- e
		}
	}
}

// Start starts a process. path is what is executed, argv all arguments with the name.
func (r *Reaper) Start(path string, argv []string, attr *syscall.ProcAttr) (*Process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	p := &Process{Pid: pid, done: make(chan Exit, 1)}
	if r.running {
		r.procs[pid] = p
	} else {
		go p.wait()
	}
	return p, nil
}

// wait collects one child.
func (p *Process) wait() {
	var e Exit
	for {
		_, err := unix.Wait4(p.Pid, &e.Status, 0, &e.Usage)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.done <- e
}
