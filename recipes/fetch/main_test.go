package fetch

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain fails the package when a test leaves a goroutine or a file descriptor behind.
func TestMain(m *testing.M) {
	if stage := os.Getenv("PICOLAB_FETCH_STAGE"); stage != "" {
		os.Exit(runStage(stage))
	}
	before := openFiles()
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	for range 50 { // the network poller closes late
		if openFiles() <= before {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if after := openFiles(); code == 0 && after > before {
		fmt.Fprintf(os.Stderr, "%d file descriptors before the tests, %d after\n", before, after)
		code = 1
	}
	os.Exit(code)
}

// openFiles counts descriptors other than those of the Go runtime's poller, which stays.
func openFiles() (n int) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && target != "anon_inode:[eventpoll]" && target != "anon_inode:[eventfd]" {
			n++
		}
	}
	return n
}
