// Package follow reads a file that somebody else is still writing, woken by inotify(7) instead of by a clock.
//
// Subset: one growing regular file; a file cut short or replaced is not noticed.
package follow

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Copy copies the file at path to w from its beginning and goes on as it grows, until ctx ends: then it takes what is
// left and returns nil. The file must exist. An error is the file's or w's.
func Copy(ctx context.Context, path string, w io.Writer) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	defer f.Close()
	changes, err := watch(path)
	if err != nil {
		return fmt.Errorf("follow %s: %w", path, err)
	}
	defer changes.Close()
	stop := context.AfterFunc(ctx, func() { changes.Close() })
	defer stop()
	for {
		if _, err := io.Copy(w, f); err != nil {
			return fmt.Errorf("follow %s: %w", path, err)
		}
		if err := next(changes); err != nil {
			_, err := io.Copy(w, f) // what came between the last read and the end of ctx
			return err
		}
	}
}

// watch returns a file that becomes readable whenever path has been written to. The runtime's poller waits on it, so
// Close ends a pending Read.
func watch(path string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY); err != nil {
		f.Close()
		return nil, os.NewSyscallError("inotify_add_watch", err)
	}
	return f, nil
}

// next waits for at least one event; their contents do not matter.
func next(changes *os.File) error {
	_, err := changes.Read(make([]byte, 16*(unix.SizeofInotifyEvent+unix.NAME_MAX+1)))
	return err
}
