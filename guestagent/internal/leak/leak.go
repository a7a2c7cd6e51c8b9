// Package leak checks that a test binary gives back the goroutines and file descriptors its tests took.
package leak

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Run runs the tests and gives the exit status: that of the tests, or 1 when something is left a second after they passed.
func Run(m *testing.M) int {
	before := descriptors()
	if code := m.Run(); code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		fmt.Println(err)
		return 1
	}
	for range 50 {
		if descriptors() <= before {
			return 0
		}
		time.Sleep(20 * time.Millisecond)
	}
	fmt.Printf("descriptors: %d before, %d after the tests\n", before, descriptors())
	return 1
}

func descriptors() int {
	e, _ := os.ReadDir("/proc/self/fd")
	return len(e)
}
