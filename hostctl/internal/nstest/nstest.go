// Package nstest runs tests in network namespaces of their own.
package nstest

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Run runs fn in a network namespace that ends with it, or skips the test. fn is not on the test's goroutine: it must not call
// Fatal.
func Run(t *testing.T, fn func()) {
	t.Helper()
	denied := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and so does the namespace
		defer close(denied)
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			denied <- err
			return
		}
		fn()
	}()
	if err := <-denied; err != nil {
		t.Skip("a network namespace needs CAP_SYS_ADMIN: ", err)
	}
}
