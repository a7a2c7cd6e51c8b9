// Package leak checks that a test binary gives back the goroutines and file descriptors its tests took.
package leak

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// Run runs the tests and gives the exit status: that of the tests, or 1 when something is left after they passed. extra
// checks run too.
func Run(m *testing.M, extra ...func() error) int {
	if err := openPoller(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	before := descriptors()
	if code := m.Run(); code != 0 {
		return code
	}
	checks := append([]func() error{func() error { return goleak.Find() }, func() error { return compare(before) }}, extra...)
	for _, check := range checks {
		if err := check(); err != nil {
			fmt.Fprintln(os.Stderr, "leak:", err)
			return 1
		}
	}
	return 0
}

func compare(before int) error {
	if after := descriptors(); after > before {
		return fmt.Errorf("%d file descriptors before, %d after", before, after)
	}
	return nil
}

// descriptors counts, itself included.
func descriptors() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}

// openPoller makes the runtime open its poller now, whose descriptors stay.
func openPoller() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	r.Close()
	return w.Close()
}
