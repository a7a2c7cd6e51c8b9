package vvsock

import (
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Addr is the address of one end of a connection.
type Addr struct {
	CID  uint64
	Port uint32
}

// Network returns "vsock".
func (a Addr) Network() string { return "vsock" }

func (a Addr) String() string { return fmt.Sprintf("%d:%d", a.CID, a.Port) }

// Conn is a connection to a port of the guest. It has deadlines, and CloseWrite and CloseRead for half-closing.
type Conn struct {
	*net.UnixConn // the loop has the other end
	local, remote Addr
}

// LocalAddr returns the host's CID and port.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the guest's CID and port.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// dial opens a connection to port.
func (l *loop) dial(ctx context.Context, port uint32) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	result := make(chan error, 1)
	c := &conn{key: key{guest: port}, fd: theirs, result: result}
	if err := l.queueDial(c); err != nil {
		_ = unix.Close(theirs)
		_ = ours.Close()
		return nil, err
	}
	select {
	case err = <-result:
	case <-ctx.Done(): // closing our end makes the loop drop its own
		err = ctx.Err()
	}
	if err != nil {
		_ = ours.Close()
		return nil, err
	}
	// The loop does not touch the key once it has answered.
	return &Conn{ours, Addr{HostCID, c.key.host}, Addr{l.cfg.GuestCID, port}}, nil
}

func (l *loop) queueDial(c *conn) error {
	l.dialMu.Lock()
	defer l.dialMu.Unlock()
	if l.closed {
		return ErrClosed
	}
	if !l.serving {
		return ErrNotReady
	}
	l.dials.push(c)
	l.wake()
	return nil
}

// socketPair returns a connection and the descriptor of its other end, non-blocking.
func socketPair() (*net.UnixConn, int, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, -1, fmt.Errorf("make socket pair: %w", err)
	}
	f := os.NewFile(uintptr(fds[0]), "vsock")
	defer f.Close()
	nc, err := net.FileConn(f)
	if err != nil {
		_ = unix.Close(fds[1])
		return nil, -1, fmt.Errorf("make connection: %w", err)
	}
	return nc.(*net.UnixConn), fds[1], nil
}
