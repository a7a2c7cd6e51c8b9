package lab

import (
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"picolab/guestagent/client"
	"picolab/hostctl/internal/proc"
)

// hostAgent is where a host image has its agent.
const hostAgent = "/bbin/guestagent"

// startHost gives the lab its own side: one agent that lives as long as the lab.
func (l *Lab) startHost(ctx context.Context) error {
	conn, p, err := startHostAgent(l.ctx, l.env)
	if err != nil {
		return err
	}
	c := client.New(conn)
	l.undo.push("end host agent", func(context.Context) error {
		c.Close()
		p.Wait() // it ends when its connection does; the exit code says nothing
		return nil
	})
	limit := l.Timeout(WaitHost)
	l.logf("waiting up to %v for Hello from the lab's own side", limit)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if _, err := c.Hello(ctx, ""); err != nil {
		return infra("say hello to the host agent: %w\n%s", err, p.Stderr())
	}
	l.host = c
	return nil
}

// startHostAgent starts an agent on one end of a socketpair and returns the other.
func startHostAgent(ctx context.Context, env Env) (net.Conn, *proc.Process, error) {
	path := env.Agent
	if path == "" {
		path = hostAgent
	}
	ours, theirs, err := socketpair()
	if err != nil {
		return nil, nil, infra("start host agent: %w", err)
	}
	defer theirs.Close()
	p, err := proc.Start(ctx, proc.Cmd{Path: path, Name: "guestagent", Args: []string{"-fd", "3"}, ExtraFiles: []*os.File{theirs}})
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
