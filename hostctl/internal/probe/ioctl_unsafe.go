package probe

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctlBuffer makes a call that reads and writes buf, which must be as long as the request number says.
func ioctlBuffer(f *os.File, request uint, buf []byte) error {
	if len(buf) == 0 {
		return unix.EINVAL
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), uintptr(request), uintptr(unsafe.Pointer(&buf[0]))); errno != 0 {
		return errno
	}
	return nil
}
