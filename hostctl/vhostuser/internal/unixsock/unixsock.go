// Package unixsock makes the non-blocking unix stream sockets of the devices, as raw descriptors: an event loop that
// hands guest memory to system calls has no use for net.Conn.
package unixsock

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// MaxPath is the greatest length of a socket's path in bytes (unix(7): sun_path less its terminating zero).
const MaxPath = 107

const kind = unix.SOCK_STREAM | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC

// Listen returns a socket that listens on path and that only this user may connect to. A socket file that nobody
// listens on any more is replaced; one that is in use is an error.
func Listen(path string) (fd int, err error) {
	if len(path) > MaxPath {
		return -1, fmt.Errorf("listen on %s: path has %d bytes, the limit is %d", path, len(path), MaxPath)
	}
	if err := removeStale(path); err != nil {
		return -1, fmt.Errorf("listen on %s: %w", path, err)
	}
	fd, err = unix.Socket(unix.AF_UNIX, kind, 0)
	if err != nil {
		return -1, fmt.Errorf("make socket: %w", err)
	}
	if err := bindListen(fd, path); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("listen on %s: %w", path, err)
	}
	return fd, nil
}

// bindListen restricts the file before anybody can connect, which is only after listen.
func bindListen(fd int, path string) error {
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return err
	}
	err := os.Chmod(path, 0o600)
	if err == nil {
		err = unix.Listen(fd, unix.SOMAXCONN)
	}
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}

func removeStale(path string) error {
	fd, err := Connect(path)
	switch {
	case err == nil:
		_ = unix.Close(fd)
		return unix.EADDRINUSE
	case errors.Is(err, unix.EAGAIN):
		return unix.EADDRINUSE
	case errors.Is(err, unix.ECONNREFUSED):
		return removeSocket(path)
	}
	return nil // nothing there, or bind says what is wrong
}

// removeSocket removes the file only if it is a socket: connecting to a regular file is refused, too.
func removeSocket(path string) error {
	st, err := os.Lstat(path)
	if err != nil || st.Mode()&os.ModeSocket == 0 {
		return unix.EEXIST
	}
	return os.Remove(path)
}

// Connect returns a socket connected to path. It never waits: a full backlog is EAGAIN.
func Connect(path string) (fd int, err error) {
	if len(path) > MaxPath {
		return -1, fmt.Errorf("connect to %s: path has %d bytes, the limit is %d", path, len(path), MaxPath)
	}
	fd, err = unix.Socket(unix.AF_UNIX, kind, 0)
	if err != nil {
		return -1, fmt.Errorf("make socket: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("connect to %s: %w", path, err)
	}
	return fd, nil
}
