// Package leak is the TestMain of packages that open files or start
// goroutines: it fails a run that ends with more of them than it began with.
package leak

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests of m and ends the process.
func Main(m *testing.M) {
	before := open()
	code := m.Run()
	if code == 0 {
		code = verdict(before)
	}
	os.Exit(code)
}

func verdict(before []string) int {
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, "leak:", err)
		return 1
	}
	if after := open(); len(after) > len(before) {
		fmt.Fprintf(os.Stderr, "leak: files open before %q, after %q\n", before, after)
		return 1
	}
	return 0
}

// open lists what this process's descriptors refer to (proc(5)), except those
// that the Go runtime makes for itself when a test first needs them.
func open() []string {
	const dir = "/proc/self/fd/"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // no /proc: nothing to compare
	}
	var out []string
	for _, e := range entries {
		target, err := os.Readlink(dir + e.Name())
		if err == nil && target != "anon_inode:[eventpoll]" && target != "anon_inode:[eventfd]" {
			out = append(out, target)
		}
	}
	return out
}
