package proc

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Reap does the duty of PID 1: it collects every child, also those inherited from others, until p is the one that has
// ended, which is left for Wait. No other child of this process may be in use meanwhile.
func Reap(p *Process) error {
	for {
		pid, err := peek()
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ECHILD):
			return nil // p has been collected by its own Wait
		case err != nil:
			return fmt.Errorf("wait for any child: %w", err)
		case pid == p.Pid():
			return nil
		default:
			// Somebody else's orphan; nobody is interested in how it ended.
			_, _ = unix.Wait4(pid, nil, 0, nil)
		}
	}
}
