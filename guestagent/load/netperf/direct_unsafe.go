package netperf

import (
	"encoding/binary"
	"net/netip"
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
	s.timeouts(true)
}

// shortSend is how many bytes any new connection takes without a wait: socket(7) doubles the least SO_SNDBUF to 2048.
const shortSend = 1024

// timeouts lets signals end calls; a call that times out is made again. Sends that never wait need no timeout.
func (s *socket) timeouts(sendsWait bool) {
	timeout := unix.NsecToTimeval(int64(time.Second))
	err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
	if err == nil && sendsWait {
		err = unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout)
	}
	s.isDirect = err == nil
}

// directCall is recvfrom(2) or sendto(2) of b, which may be empty, without an address.
func (s *socket) directCall(number uintptr, b []byte) (int, error) {
	for {
		n, _, e := syscall.RawSyscall6(number, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0, 0)
		if e == 0 {
			return int(n), nil
		}
		if !interrupted(e) {
			return 0, e
		}
	}
}

// directAccept is accept4(2). The address comes with the connection: to ask for it would be two calls more, as
// [unix.Getpeername] looks up the protocol too.
func (s *socket) directAccept() (int, netip.AddrPort, error) {
	for {
		var from [unix.SizeofSockaddrInet6]byte
		length := uint32(len(from))
		fd, _, e := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(s.fd), uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&length)), unix.SOCK_CLOEXEC, 0, 0)
		if e == 0 {
			return int(fd), rawAddrPort(&from), nil
		}
		if !interrupted(e) {
			return -1, netip.AddrPort{}, e
		}
	}
}

// interrupted lets others run when a signal or the timeout ended a call.
func interrupted(e syscall.Errno) bool {
	if e != unix.EINTR && e != unix.EAGAIN {
		return false
	}
	runtime.Gosched()
	return true
}

// rawAddrPort reads a sockaddr_in or sockaddr_in6, ip(7) and ipv6(7).
func rawAddrPort(b *[unix.SizeofSockaddrInet6]byte) netip.AddrPort {
	port := binary.BigEndian.Uint16(b[2:])
	switch binary.NativeEndian.Uint16(b[:]) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])), port)
	}
	return netip.AddrPort{}
}
