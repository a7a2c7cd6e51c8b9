package vale

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that tests give back goroutines and descriptors.
func TestMain(m *testing.M) {
	before := descriptors()
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Println(err)
			code = 1
		} else if after := descriptors(); after > before {
			fmt.Printf("descriptors: %d before, %d after\n", before, after)
			code = 1
		}
	}
	os.Exit(code)
}

func descriptors() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}
