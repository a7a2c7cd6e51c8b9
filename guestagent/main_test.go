package guestagent

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain fails when goroutines or descriptors are left over.
func TestMain(m *testing.M) {
	before := descriptors()
	code := m.Run()
	if code == 0 {
		code = leaks(before)
	}
	os.Exit(code)
}

func leaks(before int) int {
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
