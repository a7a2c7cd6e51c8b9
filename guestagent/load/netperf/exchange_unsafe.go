package netperf

import (
	"io"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// exchange is the transactions of a test over one socket. They are one system call to the runtime, however long it takes:
// nothing in them waits for a processor (P), as after each blocking call of its own, and none is held meanwhile, so that
// calls may block for ever. What is called in between must not grow the stack, allocate or write pointers.
type exchange struct {
	*transfer
	request, answer []byte
	stream          bool // or each call is a datagram

	errno  syscall.Errno
	closed bool // the peer's end came, or its empty datagram
}

// The runtime keeps these for others too (go.dev/issue/67401).

//go:linkname enterSyscall runtime.entersyscallblock
func enterSyscall()

//go:linkname exitSyscall runtime.exitsyscall
func exitSyscall()

// ask sends requests and waits for their answers, 1+burst of them under way, until time is up or limit transactions are done
// (0: no limit).
func (x *exchange) ask(burst int, limit uint64) error {
	x.askAll(uint64(burst), limit)
	if err := x.err(); err != nil {
		return x.ended("transact", err)
	}
	return x.stop.err()
}

//go:nosplit
//go:norace
func (x *exchange) askAll(burst, limit uint64) {
	enterSyscall()
	for sent := uint64(0); !x.stop.expired.Load() && (limit == 0 || x.Transactions < limit); x.transacted() {
		for sent-x.Transactions <= burst && (limit == 0 || sent < limit) {
			if !x.write(x.request) {
				exitSyscall()
				return
			}
			sent++
		}
		if !x.read(x.answer) {
			break
		}
	}
	exitSyscall()
}

// serve answers requests until the client ends it, and returns how.
func (x *exchange) serve() error {
	x.serveAll()
	return x.err()
}

//go:nosplit
//go:norace
func (x *exchange) serveAll() {
	enterSyscall()
	for x.read(x.request) && x.write(x.answer) {
		x.transacted()
	}
	exitSyscall()
}

// write sends the whole of b.
//
//go:nosplit
//go:norace
func (x *exchange) write(b []byte) bool {
	for at := uintptr(0); at < uintptr(len(b)); {
		n, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(x.sock.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b)))+at, uintptr(len(b))-at, 0, 0, 0)
		switch e {
		case 0:
			x.SendCalls++
			x.BytesSent += uint64(n)
			at += n
		case unix.EINTR:
		default:
			x.errno = e
			return false
		}
	}
	return true
}

// read fills b from a stream, or takes one datagram.
//
//go:nosplit
//go:norace
func (x *exchange) read(b []byte) bool {
	for at := uintptr(0); at < uintptr(len(b)); {
		n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(x.sock.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b)))+at, uintptr(len(b))-at, 0, 0, 0)
		switch {
		case e == unix.EINTR:
			continue
		case e != 0:
			x.errno = e
			return false
		case n == 0:
			x.closed = true
			return false
		}
		x.RecvCalls++
		x.BytesReceived += uint64(n)
		at += n
		if !x.stream {
			break
		}
	}
	return true
}

// err says why it ended, nil when nothing went wrong.
func (x *exchange) err() error {
	switch {
	case x.closed:
		return io.EOF
	case x.errno != 0:
		return x.errno
	}
	return nil
}
