package netperf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reconnection is an exchange with a connection for each transaction: a TCP_CRR, at the client.
type reconnection struct {
	exchange
	family      int
	settings    []setting
	bound       bool
	local, peer rawAddress
	live        atomic.Int32 // the descriptor of the connection that there is, which may be interrupted

	failed step    // that errno is of
	more   bool    // came than the answer
	end    [1]byte // room for it
}

// rawAddress is a sockaddr_in or sockaddr_in6, ip(7) and ipv6(7).
type rawAddress struct {
	bytes  [unix.SizeofSockaddrInet6]byte
	length uintptr
}

func newRawAddress(a netip.AddrPort) (raw rawAddress) {
	b := raw.bytes[:]
	binary.BigEndian.PutUint16(b[2:], a.Port())
	if ip := a.Addr(); !ip.Is4() {
		binary.NativeEndian.PutUint16(b, unix.AF_INET6)
		copy(b[8:], ip.AsSlice())
		binary.NativeEndian.PutUint32(b[24:], zone(ip))
		raw.length = unix.SizeofSockaddrInet6
		return raw
	}
	binary.NativeEndian.PutUint16(b, unix.AF_INET)
	copy(b[4:], a.Addr().AsSlice())
	raw.length = unix.SizeofSockaddrInet4
	return raw
}

// step is what a connection begins with.
type step uint8

const (
	transacting step = iota
	making
	binding
	connecting
)

// Values of live that are no descriptor.
const (
	noneLive     = -1
	interrupting = -2
)

func newReconnection(t *transfer, o *dataOptions, peer netip.AddrPort, request, answer []byte) *reconnection {
	x := &reconnection{exchange: exchange{transfer: t, request: request, answer: answer, stream: true},
		family: o.family(), settings: o.settings(), bound: !o.anywhere(), local: newRawAddress(o.Local), peer: newRawAddress(peer)}
	x.sock = &socket{}
	x.live.Store(noneLive)
	return x
}

// interrupt ends calls on the connection that there is.
func (x *reconnection) interrupt(how int) {
	for {
		fd := x.live.Load()
		if fd == noneLive {
			return
		}
		if fd != interrupting && x.live.CompareAndSwap(fd, interrupting) {
			_ = unix.Shutdown(int(fd), how)
			x.live.Store(fd)
			return
		}
	}
}

// ask transacts until time is up or limit transactions are done; 0 is no limit.
func (x *reconnection) ask(limit uint64) error {
	x.askAll(limit)
	err := x.err()
	switch x.failed {
	case making:
		err = fmt.Errorf("make data socket: %w", err)
	case binding:
		err = fmt.Errorf("bind data socket to %s: %w", rawAddrPort(&x.local.bytes), err)
	case connecting:
		err = fmt.Errorf("connect data socket to %s: %w", rawAddrPort(&x.peer.bytes), err)
	}
	switch {
	case err != nil:
		return x.ended("transact", err)
	case x.more:
		return x.ended("transact", errors.New("server sent more than the answer"))
	}
	return x.stop.err()
}

//go:nosplit
//go:norace
func (x *reconnection) askAll(limit uint64) {
	enterSyscall()
	for !x.stop.expired.Load() && (limit == 0 || x.Transactions < limit) {
		if !x.open() {
			break
		}
		done := !x.stop.expired.Load() && x.connect() && x.write(x.request) && x.read(x.answer) && x.finished()
		x.close()
		if !done {
			break
		}
		x.transacted()
	}
	exitSyscall()
}

// open makes a socket.
//
//go:nosplit
//go:norace
func (x *reconnection) open() bool {
	fd, _, e := syscall.RawSyscall(unix.SYS_SOCKET, uintptr(x.family), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if e != 0 {
		x.errno, x.failed = e, making
		return false
	}
	x.sock.fd = int(fd)
	x.live.Store(int32(fd)) // whoever missed it has let expired be true before
	return true
}

//go:nosplit
//go:norace
func (x *reconnection) close() {
	fd := int32(x.sock.fd)
	for !x.live.CompareAndSwap(fd, noneLive) { // somebody interrupts it, which does not take long
	}
	_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

// connect sets the options, which a system may refuse, and connects.
//
//go:nosplit
//go:norace
func (x *reconnection) connect() bool {
	fd := uintptr(x.sock.fd)
	for i := range x.settings {
		s := &x.settings[i]
		_, _, _ = syscall.RawSyscall6(unix.SYS_SETSOCKOPT, fd, uintptr(s.level), uintptr(s.name), uintptr(unsafe.Pointer(unsafe.SliceData(s.value))), uintptr(len(s.value)), 0)
	}
	if x.bound {
		if _, _, e := syscall.RawSyscall(unix.SYS_BIND, fd, uintptr(unsafe.Pointer(&x.local.bytes)), x.local.length); e != 0 {
			x.errno, x.failed = e, binding
			return false
		}
	}
	for {
		switch _, _, e := syscall.RawSyscall(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&x.peer.bytes)), x.peer.length); e {
		case 0, unix.EISCONN:
			return true
		case unix.EINTR, unix.EALREADY, unix.EINPROGRESS:
		default:
			x.errno, x.failed = e, connecting
			return false
		}
	}
}

// finished waits for the server to close the connection.
//
//go:nosplit
//go:norace
func (x *reconnection) finished() bool {
	for {
		n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(x.sock.fd), uintptr(unsafe.Pointer(&x.end)), 1, 0, 0, 0)
		switch {
		case e == unix.EINTR:
			continue
		case e != 0 && e != unix.ECONNRESET:
			x.errno = e
		case n > 0 && e == 0:
			x.more = true
		default:
			return true
		}
		return false
	}
}
