package packet

import (
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"picolab/guestagent/load/pktgen"
)

// batch is how many frames a system call takes at most.
const batch = 512

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	sent   uint32
	_      uint32
}

// sender has buffers for a batch. Frames first to last have been taken and not been sent.
type sender struct {
	fd          int
	buffers     [][]byte
	vectors     []unix.Iovec
	messages    []mmsghdr
	first, last int
}

func newSender(fd, size int) *sender {
	s := &sender{fd: fd, buffers: pktgen.Buffers(batch, size), vectors: make([]unix.Iovec, batch), messages: make([]mmsghdr, batch)}
	for i := range s.buffers {
		s.vectors[i].Base = &s.buffers[i][0]
		s.messages[i].header.Iov = &s.vectors[i]
		s.messages[i].header.Iovlen = 1
	}
	return s
}

func (s *sender) reserve(frames [][]byte) (int, error) {
	if _, err := s.flush(); err != nil || s.first < s.last {
		return 0, err
	}
	return copy(frames, s.buffers), nil
}

func (s *sender) send(frames [][]byte) error {
	for i, f := range frames {
		s.vectors[i].SetLen(len(f))
	}
	s.first, s.last = 0, len(frames)
	_, err := s.flush()
	return err
}

// flush sends what is left. A full socket (EAGAIN) and a full driver (ENOBUFS, packet(7)) are no errors: the frame that
// was refused is sent again.
func (s *sender) flush() (int, error) {
	for s.first < s.last {
		n, _, e := syscall.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.messages[s.first])),
			uintptr(s.last-s.first), 0, 0, 0)
		if e == unix.EAGAIN || e == unix.ENOBUFS {
			break
		}
		if e != 0 && !errors.Is(e, unix.EINTR) {
			return s.last - s.first, e
		}
		if e == 0 {
			s.first += int(n)
		}
	}
	return s.last - s.first, nil
}
