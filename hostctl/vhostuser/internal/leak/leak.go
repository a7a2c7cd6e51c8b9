// Package leak checks that tests give back what they take: goroutines, file descriptors and mappings of shared memory.
package leak

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Count is what a process holds.
type Count struct{ Goroutines, FDs, Mappings int }

// Now counts.
func Now() Count {
	dir, _ := os.ReadDir("/proc/self/fd")
	maps, _ := os.ReadFile("/proc/self/maps")
	return Count{runtime.NumGoroutine(), len(dir), bytes.Count(maps, []byte("memfd:"))}
}

// Settles waits until no more than before is held, and returns an error that says what remains.
func Settles(before Count) error {
	var now Count
	for limit := time.Now().Add(5 * time.Second); time.Now().Before(limit); time.Sleep(5 * time.Millisecond) {
		now = Now()
		if now.Goroutines <= before.Goroutines && now.FDs <= before.FDs && now.Mappings <= before.Mappings {
			return nil
		}
	}
	return fmt.Errorf("leak: %+v before, %+v after", before, now)
}

// Main is a TestMain.
func Main(m *testing.M) {
	if l, err := net.Listen("unix", ""); err == nil { // the runtime's own epoll is made here, not while a test runs
		_ = l.Close()
	}
	before := Now()
	code := m.Run()
	if code == 0 {
		code = verdict(before)
	}
	os.Exit(code)
}

func verdict(before Count) int {
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	before.Goroutines = 1 << 30 // goleak knows better which of them count
	if err := Settles(before); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
