package boot

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// swapOn is swapon(2) without flags.
func swapOn(disk string) error {
	path, err := unix.BytePtrFromString(disk)
	if err != nil {
		return fmt.Errorf("swap to %q: %w", disk, err)
	}
	_, _, errno := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(path)), 0, 0)
	runtime.KeepAlive(path)
	if errno != 0 {
		return fmt.Errorf("swap to %s: %w", disk, errno)
	}
	return nil
}
