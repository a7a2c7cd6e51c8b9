package netperf

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A blocking system call through the runtime costs a transaction test a third of its rate: the runtime takes the
// processor (P) away after 20 us and must find one again when the call returns. A direct call keeps it. That is safe
// as long as a P is left for others, which places counts, and as a call that blocks for long ends: sysmon's and the
// garbage collector's signals interrupt calls on sockets that have a timeout (socket(7), SO_RCVTIMEO; signal(7)).

// places is how many sockets may hold a P.
var places atomic.Int32

// direct makes calls on s keep the P, if there is a place. Close gives it back.
func (s *socket) direct() {
	if places.Add(1) > int32(runtime.GOMAXPROCS(0)-1) {
		places.Add(-1)
		return
	}
	s.placed = true
	s.timeouts()
}

// timeouts lets signals end calls; a call that times out is made again.
func (s *socket) timeouts() {
	timeout := unix.NsecToTimeval(int64(time.Second))
	e1 := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
	e2 := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout)
	s.isDirect = e1 == nil && e2 == nil
}

// directCall is recvfrom(2) or sendto(2) of b, which may be empty, without an address; or accept4(2), without a b.
func (s *socket) directCall(number uintptr, b []byte, flags uintptr) (int, error) {
	for {
		n, _, e := syscall.RawSyscall6(number, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), flags, 0, 0)
		switch e {
		case 0:
			return int(n), nil
		case unix.EINTR, unix.EAGAIN:
			runtime.Gosched() // what the signal was for
		default:
			return 0, e
		}
	}
}
