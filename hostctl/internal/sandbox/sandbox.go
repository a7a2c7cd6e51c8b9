// Package sandbox runs part of hostctl inside a private set of Linux namespaces whose root is a host image. Everything
// made in there (links, processes, mounts, sockets under /run and /tmp) vanishes when its first process ends, and that
// one ends when the process that started it does, however it ends.
//
// The program re-executes itself: main (and TestMain) must call Main first. Stage one is PID 1 of the new PID namespace:
// it mounts the tree, enters it, reaps orphans and watches the lifeline pipe. Stage two is PID 2 and runs the function
// registered under Spec.Entry.
//
// With CAP_SYS_ADMIN no user namespace is made, since devices such as /dev/net/tun may be root's only. Without it a user
// namespace maps the caller to uid 0. See namespaces(7), user_namespaces(7), pivot_root(2).
package sandbox

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"picolab/hostctl/internal/proc"
)

// DefaultGrace is the time the entry function has to return once its context is cancelled.
const DefaultGrace = 30 * time.Second

// Bind shows a file or folder of this machine inside.
type Bind struct {
	Source   string // outside; symbolic links are resolved
	Target   string // inside: absolute, under /run or /tmp (which are writable), parents are made
	ReadOnly bool
}

// Spec says what to run and what it sees.
type Spec struct {
	Root     string // folder with the host image's root file system; read-only inside, with all mounts below it
	Binds    []Bind
	Hostname string   // "picolab" when empty
	Entry    string   // name given to Register
	Payload  []byte   // handed to the entry function; at most 64 MiB
	Env      []string // environment of the entry, added to PATH, HOME, TMPDIR, LANG and the caller's TERM
	Stdin    io.Reader
	Stdout   io.Writer
	Stderr   io.Writer
	Grace    time.Duration // from SIGTERM or the end of the context to SIGKILL; 0 means DefaultGrace
	Log      func(string)
	// Detach: the sandbox survives the caller, in its own session, without a lifeline. Stdin must be nil; Stdout and
	// Stderr nil or files. Ending it is Kill(pid) of its first process, whose pid the caller must record.
	Detach bool
	// Modules keeps the leave to load kernel modules: for a machine that is nobody's but the lab's.
	Modules bool
	// UserNS asks for a user namespace even with CAP_SYS_ADMIN; tests use it.
	UserNS bool
}

// Sandbox is a running sandbox.
type Sandbox struct {
	first    *proc.Process
	lifeline io.Closer

	once sync.Once
	code int
	err  error
}

// Register names a function that may run inside. It must be called before Main: from init or a package variable.
// ctx ends when SIGINT or SIGTERM reaches the sandbox. What fn returns is the exit code of the sandbox, 0 to 125.
func Register(name string, fn func(ctx context.Context, payload []byte) int) {
	if _, dup := entries[name]; dup {
		panic("sandbox: entry " + name + " registered twice")
	}
	entries[name] = fn
}

var entries = map[string]func(context.Context, []byte) int{}

// Pid is the first process of the sandbox, as seen from outside. Killing it with SIGKILL ends everything inside;
// /proc/PID/root shows the sandbox's files, so that sockets under /run inside can be reached from outside.
func (s *Sandbox) Pid() int { return s.first.Pid() }

// Path is the outside name of a path inside, valid while the sandbox lives and, for an ordinary user, the same user.
func (s *Sandbox) Path(inside string) string {
	return fmt.Sprintf("/proc/%d/root%s", s.Pid(), inside)
}
