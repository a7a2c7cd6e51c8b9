// Package flock takes advisory locks on files (flock(2)): one holder a machine, let go by the kernel when the holder dies,
// and effective between processes whose sandboxes show the same file.
package flock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrHeld is the error of a lock that somebody else holds.
var ErrHeld = errors.New("held by another process")

// A Lock is held until Release.
type Lock struct{ f *os.File }

// Try takes the lock on path, which is made when missing, or returns an error that wraps ErrHeld.
func Try(path string) (*Lock, error) {
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		if err := lock(f); err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if current(f, path) {
			return &Lock{f}, nil
		}
		f.Close() // removed by its last holder between the two calls: what we hold is nobody's
	}
}

func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrHeld
	}
	return err
}

// current says whether path still names the file that is open.
func current(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

// interval is the time between two tries of Wait: a kernel's blocking flock cannot be cancelled.
const interval = 20 * time.Millisecond

// Wait takes the lock on path as soon as it is free. It fails when ctx ends first.
func Wait(ctx context.Context, path string) (*Lock, error) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		l, err := Try(path)
		if !errors.Is(err, ErrHeld) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// Release lets the lock go. The file stays.
func (l *Lock) Release() error { return l.f.Close() }

// Remove removes the file and lets the lock go.
func (l *Lock) Remove() error { return errors.Join(os.Remove(l.f.Name()), l.f.Close()) }
