package netperf

import (
	"io"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batchSize = 32      // datagrams that one call takes at most
	roomSize  = 1 << 16 // for each of them: all of it is copied, as a call for each would
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	length uint32
	_      [4]byte
}

// batch is room for datagrams that are received together.
type batch struct {
	messages [batchSize]mmsghdr
	vectors  [batchSize]unix.Iovec
	room     []byte
	naps     bool
}

// newBatch is for the datagrams of s.
func newBatch(s *socket) *batch {
	_, buffer := s.buffers()
	b := &batch{room: make([]byte, batchSize*roomSize), naps: s.isDirect && buffer >= napRoom}
	for i := range b.messages {
		b.vectors[i].Base = &b.room[i*roomSize]
		b.vectors[i].SetLen(roomSize)
		b.messages[i].header.Iov = &b.vectors[i]
		b.messages[i].header.SetIovlen(1)
	}
	return b
}

const (
	napTime = 10 * time.Microsecond // and the timer slack, as a rule 50 us: 160,000 datagrams a second make ten
	napSize = 512                   // bytes of a datagram, for which the system counts 1280 at most
	napRoom = 128 << 10             // bytes of a receive buffer, room for a hundred; usual are 208 KiB (socket(7), rmem_default)
)

// nap lets datagrams gather. A receiver that is faster than the sender otherwise sleeps after each, and to be woken up for each
// costs the sender, where both are on one machine, a fifth of its rate.
func nap() {
	t := unix.NsecToTimespec(int64(napTime))
	_, _, _ = syscall.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0)
}

// receive waits for a datagram and takes those that wait with it.
func (b *batch) receive(s *socket) (int, error) {
	call := syscall.RawSyscall6
	if !s.isDirect {
		call = syscall.Syscall6
	}
	for {
		n, _, e := call(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&b.messages[0])), batchSize, unix.MSG_WAITFORONE, 0, 0)
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

// receiveBatch counts the datagrams of one call, each as a call of its own; io.EOF after an empty one, which is how netperf
// ends a test.
func (t *transfer) receiveBatch(b *batch) error {
	n, err := b.receive(t.sock)
	if err != nil {
		return err
	}
	if b.naps && n < batchSize && b.messages[0].length <= napSize {
		nap()
	}
	for _, m := range b.messages[:n] {
		if m.length == 0 {
			return io.EOF
		}
		t.RecvCalls++
		t.BytesReceived += uint64(m.length)
	}
	return nil
}

// copies is one datagram, to be sent many times with a call.
type copies struct {
	messages [batchSize]mmsghdr
	vector   unix.Iovec
	size     int
}

// newCopies is for b, which is not empty.
func newCopies(b []byte) *copies {
	c := &copies{size: len(b)}
	c.vector.Base = &b[0]
	c.vector.SetLen(len(b))
	for i := range c.messages {
		c.messages[i].header.Iov = &c.vector
		c.messages[i].header.SetIovlen(1)
	}
	return c
}

// send sends n of them, at most batchSize, and returns how many the system took; an error is that of the first.
func (c *copies) send(s *socket, n int) (int, error) {
	call := syscall.RawSyscall6
	if !s.isDirect {
		call = syscall.Syscall6
	}
	for {
		k, _, e := call(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&c.messages[0])), uintptr(n), 0, 0, 0)
		switch e {
		case 0:
			return int(k), nil
		case unix.EINTR:
			runtime.Gosched() // what the signal was for
		default:
			return 0, e
		}
	}
}

// sendCopies counts the datagrams of one call, each as a call of its own.
func (t *transfer) sendCopies(c *copies, limit uint64) error {
	n := batchSize
	if limit > 0 {
		n = int(min(batchSize, (limit-t.BytesSent+uint64(c.size)-1)/uint64(c.size)))
	}
	k, err := c.send(t.sock, n)
	t.SendCalls += uint64(k)
	t.BytesSent += uint64(k * c.size)
	t.progress.Store(t.BytesSent)
	return err
}
