package proc

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// peek blocks until some child has ended and gives its pid without collecting it (waitid(2) with WNOWAIT).
func peek() (int, error) {
	var si unix.Siginfo
	if err := unix.Waitid(unix.P_ALL, 0, &si, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		return 0, err
	}
	// siginfo_t: si_signo, si_errno, si_code, then a union aligned to the word size that starts with si_pid.
	off := (3*unsafe.Sizeof(si.Signo) + unsafe.Alignof(uintptr(0)) - 1) &^ (unsafe.Alignof(uintptr(0)) - 1)
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(&si), off))), nil
}
