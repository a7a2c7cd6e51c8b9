package labs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"picolab/guestagent/client"
)

// dial connects to the lab's control socket, sends the request and returns the first line of the answer.
func (f folder) dial(ctx context.Context, request string) (net.Conn, string, error) {
	conn, err := f.connect(ctx)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			err = ErrUnknown
		}
		return nil, "", err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	_, err = io.WriteString(conn, request+"\n")
	var line string
	if err == nil {
		line, err = readLine(conn)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if text, failed := strings.CutPrefix(line, "ERROR "); failed {
		err = errors.New(text)
	}
	if line == "UNKNOWN" {
		err = ErrNoGuest
	}
	if err != nil {
		conn.Close()
		return nil, "", fmt.Errorf("ask the lab for %s: %w", request, err)
	}
	return conn, line, nil
}

// connect reaches the socket through its folder's descriptor: the path of a unix socket is limited to 107 bytes, that of a
// folder is not.
func (f folder) connect(ctx context.Context) (net.Conn, error) {
	dir, err := os.Open(string(f))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return new(net.Dialer).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/control.sock", dir.Fd()))
}

// Agent connects to the agent of an endpoint, a guest's name or HostEndpoint, and says Hello. ctx bounds the Hello only.
func (s *Store) Agent(ctx context.Context, name, endpoint string) (*client.Client, error) {
	conn, line, err := s.folder(name).dial(ctx, "AGENT "+endpoint)
	if err != nil {
		return nil, fmt.Errorf("reach %s/%s: %w", name, endpoint, err)
	}
	c := client.New(conn)
	if _, err := c.Hello(ctx, strings.TrimSpace(strings.TrimPrefix(line, "OK"))); err != nil {
		c.Close()
		return nil, fmt.Errorf("say hello to %s/%s: %w", name, endpoint, err)
	}
	return c, nil
}

// Console connects to a guest's console: what it wrote lately, and from then on both ways.
func (s *Store) Console(ctx context.Context, name, guest string) (net.Conn, error) {
	conn, _, err := s.folder(name).dial(ctx, "CONSOLE "+guest)
	if err != nil {
		return nil, fmt.Errorf("reach console of %s/%s: %w", name, guest, err)
	}
	return conn, nil
}

// Watch returns once the lab is gone or ctx ends. A lab that is not there is gone.
func (s *Store) Watch(ctx context.Context, name string) {
	if conn, _, err := s.folder(name).dial(ctx, "WATCH"); err == nil {
		conn.Close()
	}
}
