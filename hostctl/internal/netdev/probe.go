package netdev

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// ProbeTap makes a tap in a fresh network namespace and says whether that worked, and how it knows. In a sandbox that
// is all a lab needs; outside, an ordinary user has to run it through the sandbox.
func ProbeTap() (ok bool, evidence string) {
	type answer struct {
		ok       bool
		evidence string
	}
	c := make(chan answer)
	go func() {
		// Never unlocked: the thread, and with it the namespace, ends with this goroutine.
		runtime.LockOSThread()
		ok, evidence := probeTap()
		c <- answer{ok, evidence}
	}()
	a := <-c
	return a.ok, a.evidence
}

func probeTap() (bool, string) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return false, fmt.Sprintf("unshare(CLONE_NEWNET): %v", err)
	}
	const flags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR
	f, err := attach("probe0", flags)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, tunPath + " does not exist"
	case err != nil:
		return false, err.Error()
	}
	defer f.Close()
	if err := Up("probe0"); err != nil {
		return false, err.Error()
	}
	return true, "TUNSETIFF made a tap in a fresh network namespace and it came up"
}
