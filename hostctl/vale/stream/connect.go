package stream

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const kind = unix.SOCK_STREAM | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC

// listen returns a socket that listens on path and that only this user may connect to. A socket that nobody listens on any
// more is replaced.
func listen(path string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, kind, 0)
	if err != nil {
		return -1, fmt.Errorf("make socket: %w", err)
	}
	if err = removeStale(path); err == nil {
		err = bind(fd, path)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("listen on %s: %w", path, err)
	}
	return fd, nil
}

// bind restricts the file before anybody can connect, which is only after listen(2).
func bind(fd int, path string) error {
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return err
	}
	err := os.Chmod(path, 0o600)
	if err == nil {
		err = unix.Listen(fd, 1)
	}
	if err != nil {
		_ = unix.Unlink(path)
	}
	return err
}

// removeStale removes a socket on which a connection is refused, and nothing else.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	if err != nil || st.Mode()&os.ModeSocket == 0 {
		return nil // bind says what is wrong
	}
	fd, err := dial(path)
	if err == nil {
		_ = unix.Close(fd)
		return unix.EADDRINUSE
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		return unix.Unlink(path)
	}
	return unix.EADDRINUSE
}

// dial connects without waiting: a full backlog is EAGAIN.
func dial(path string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, kind, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// connect finds a peer, and reports whether there is one.
func (p *port) connect() bool {
	fd, err := p.reach()
	if err != nil {
		return false
	}
	if p.waker.Watch(fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP) != nil {
		_ = unix.Close(fd)
		return false
	}
	p.fd = fd
	return true
}

func (p *port) reach() (int, error) {
	if p.listener >= 0 {
		fd, _, err := unix.Accept4(p.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		return fd, err
	}
	now := time.Now()
	if wait := p.dialed.Add(p.opt.Retry).Sub(now); wait > 0 {
		p.waker.WakeAfter(wait)
		return -1, unix.EAGAIN
	}
	p.dialed = now
	fd, err := dial(p.path)
	if err != nil {
		p.waker.WakeAfter(p.opt.Retry)
	}
	return fd, err
}
