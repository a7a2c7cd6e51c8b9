package lab

import (
	"testing"

	"golang.org/x/sys/unix"
)

// hideTun covers /dev/net with an empty folder, as in a container without taps.
func hideTun(t *testing.T) {
	t.Helper()
	if err := unix.Mount("tmpfs", "/dev/net", "tmpfs", 0, ""); err != nil {
		if err == unix.ENOENT {
			return // there is none to hide
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount("/dev/net", 0); err != nil {
			t.Error(err)
		}
	})
}
