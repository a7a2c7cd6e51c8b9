package vvsock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxIovecs is the kernel's limit for one call (UIO_MAXIOV).
const maxIovecs = 1024

// vector makes readv(2) and writev(2) calls without allocating. The memory is usually the guest's.
type vector struct{ iov []unix.Iovec }

// fill takes over the first maxIovecs segments.
func (v *vector) fill(segs [][]byte) {
	v.iov = v.iov[:0]
	for _, s := range segs[:min(len(segs), maxIovecs)] {
		v.iov = append(v.iov, unix.Iovec{Base: unsafe.SliceData(s), Len: uint64(len(s))})
	}
}

func (v *vector) call(trap uintptr, fd int) (int, error) {
	for {
		n, _, errno := unix.Syscall(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(v.iov))), uintptr(len(v.iov)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}

// readv reads from fd into segs; it may fill less than all.
func (v *vector) readv(fd int, segs [][]byte) (int, error) {
	v.fill(segs)
	return v.call(unix.SYS_READV, fd)
}

// writev writes segs to fd; it may write less than all.
func (v *vector) writev(fd int, segs [][]byte) (int, error) {
	v.fill(segs)
	return v.call(unix.SYS_WRITEV, fd)
}
