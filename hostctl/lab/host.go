package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"picolab/guestagent/client"
	"picolab/hostctl/internal/proc"
)

// hostAgentPath is where a host image has its agent.
const hostAgentPath = "/bbin/guestagent"

// startHost gives the lab its own side: one agent that lives as long as the lab.
func (l *Lab) startHost(ctx context.Context) error {
	c, _, err := l.hostAgent(ctx, &l.undo, 0)
	l.host = c
	return err
}

// hostAgent starts an agent on this machine, in new namespaces where the flags (clone(2)) say so, and waits for its Hello.
// What ends it goes on undo.
func (l *Lab) hostAgent(ctx context.Context, undo *stack, flags uintptr) (*client.Client, *proc.Process, error) {
	conn, p, err := startHostAgent(l.ctx, l.env, flags)
	if err != nil {
		return nil, nil, err
	}
	c := client.New(conn)
	undo.push("end host agent", func(context.Context) error {
		c.Close()
		p.Wait() // it ends when its connection does; the exit code says nothing
		return nil
	})
	limit := l.Timeout(WaitHost)
	l.logf("waiting up to %v for Hello from an agent of the lab's own", limit)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if _, err := c.Hello(ctx, ""); err != nil {
		return nil, nil, infra("say hello to the host agent: %w\n%s", err, p.Stderr())
	}
	return c, p, nil
}

// startHostAgent starts an agent on one end of a socketpair and returns the other.
func startHostAgent(ctx context.Context, env Env, flags uintptr) (net.Conn, *proc.Process, error) {
	path := env.Agent
	if path == "" {
		path = hostAgentPath
	}
	args := []string{"-fd", "3"}
	if env.Modules != "" {
		args = append(args, "-modules", env.Modules)
	}
	ours, theirs, err := socketpair()
	if err != nil {
		return nil, nil, infra("start host agent: %w", err)
	}
	defer theirs.Close()
	p, err := proc.Start(ctx, proc.Cmd{Path: path, Name: "guestagent", Args: args, ExtraFiles: []*os.File{theirs},
		Sys: func(a *syscall.SysProcAttr) { a.Cloneflags |= flags }})
	if err != nil {
		ours.Close()
		return nil, nil, infra("start host agent: %w", err)
	}
	return ours, p, nil
}

// socketpair returns our end as a connection and the child's as a file.
func socketpair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make socketpair: %w", err)
	}
	ours := os.NewFile(uintptr(fds[0]), "agent")
	theirs := os.NewFile(uintptr(fds[1]), "agent of the child")
	conn, err := net.FileConn(ours) // a duplicate
	ours.Close()
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("make socketpair: %w", err)
	}
	return conn, theirs, nil
}
