package vhostuser

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser/internal/frontend"
	"picolab/hostctl/vhostuser/internal/leak"
)

// sequences is how many hostile message sequences to try: $PICOLAB_HOSTILE, or few. ROBUSTNESS asks for 10^6 in a release.
func sequences() int {
	if n, err := strconv.Atoi(os.Getenv("PICOLAB_HOSTILE")); err == nil {
		return n
	}
	return 300
}

// TestHostileSequences sends random messages with random descriptors on connection after connection. Nothing may be left
// of them, and the next front-end is served.
func TestHostileSequences(t *testing.T) {
	path := startServer(t, newEchoDevice())
	h := newHostile(t)
	before := leak.Now()
	for i := range sequences() {
		h.rnd = rand.New(rand.NewPCG(uint64(i), 1))
		h.sequence(t, path)
	}
	if err := leak.Settles(before); err != nil {
		t.Error(err)
	}
	newSession(t, path).echo(t, "next")
}

type hostile struct {
	rnd  *rand.Rand
	mem  *frontend.Memory
	ring *frontend.Ring
	fds  []int
}

func newHostile(t *testing.T) *hostile {
	h := &hostile{mem: frontend.NewMemory(t, 1<<20)}
	h.ring = frontend.NewRing(h.mem, 16, true)
	loose := frontend.NewUnsealedMemory(t, 1<<20, 0)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, fd := range []int{pipe[0], pipe[1], event, epoll} {
			_ = unix.Close(fd)
		}
	})
	h.fds = []int{h.mem.FD, h.mem.FD, h.mem.FD, event, event, event, loose.FD, pipe[0], pipe[1], epoll}
	return h
}

// sequence is one connection. Often it begins as a good one does, to get further.
func (h *hostile) sequence(t *testing.T, path string) {
	c := frontend.Dial(t, path)
	done := make(chan struct{})
	defer func() { // the next one waits, or there would be more and more connections that nobody has accepted
		_ = c.CloseWrite()
		<-done
		_ = c.Close()
	}()
	go func() { // replies are of no interest, but must not fill the socket
		defer close(done)
		var b [4096]byte
		for {
			if _, err := c.Read(b[:]); err != nil {
				return
			}
		}
	}()
	if h.rnd.IntN(2) == 0 {
		_ = c.Send(16, 0, frontend.U64(ProtocolImplemented))
		_ = c.Send(2, 0, frontend.U64(testFeatures|1<<30|1<<32|uint64(h.rnd.IntN(2))<<26|uint64(h.rnd.IntN(2))<<34))
	}
	for range 5 + h.rnd.IntN(40) {
		request, payload := h.message()
		flags := uint32(frontend.NeedReply)
		if h.rnd.IntN(20) == 0 {
			flags = h.rnd.Uint32() &^ 3
		}
		raw := frontend.Encode(request, flags, payload)
		if h.rnd.IntN(50) == 0 {
			raw = raw[:h.rnd.IntN(len(raw))+1]
		}
		if _, _, err := c.WriteMsgUnix(raw, unix.UnixRights(h.someFDs()...), nil); err != nil {
			return
		}
	}
}

func (h *hostile) someFDs() []int {
	n := []int{0, 0, 1, 1, 1, 1, 2, 8, 9, 30}[h.rnd.IntN(10)]
	var fds []int
	for range n {
		fds = append(fds, h.fds[h.rnd.IntN(len(h.fds))])
	}
	return fds
}

// message returns a request that is well-formed more often than not, with numbers that matter.
func (h *hostile) message() (uint32, []byte) {
	numbers := []uint32{0, 0, 0, 1, 1, 2, 16, 16, 0x100, 0x10000, 1 << 31, 0xffffffff}
	n := func() uint32 { return numbers[h.rnd.IntN(len(numbers))] }
	switch h.rnd.IntN(14) {
	case 0:
		return 37, append(make([]byte, 8), h.region()...)
	case 1:
		return 38, append(make([]byte, 8), h.region()...)
	case 2:
		count := h.rnd.IntN(3)
		b := frontend.State(uint32(count), 0)
		for range count {
			b = append(b, h.region()...)
		}
		return 5, b
	case 3, 4:
		b := h.ring.Addr(n())
		b[4] = byte(h.rnd.IntN(2))
		return 9, b
	case 5, 6:
		return 12 + uint32(h.rnd.IntN(3)), frontend.U64(uint64(n()))
	case 7:
		return 8, frontend.State(n(), 16)
	case 8:
		return 18, frontend.State(n(), 1)
	case 9:
		return 6, append(frontend.U64(uint64(n())), frontend.U64(uint64(n()))...)
	case 10:
		return 7, nil
	case 11:
		return uint32(h.rnd.IntN(50)), nil
	}
	return uint32(h.rnd.IntN(50)), frontend.State(n(), n())
}

func (h *hostile) region() []byte {
	r := h.mem.Region(uint64(len(h.mem.Mem)))
	if h.rnd.IntN(3) == 0 {
		binary.LittleEndian.PutUint64(r[8*h.rnd.IntN(4):], h.rnd.Uint64()>>h.rnd.IntN(64))
	}
	return r
}

// FuzzMessages feeds a connection with bytes and descriptors: a descriptor goes with each write of step bytes.
func FuzzMessages(f *testing.F) {
	mem := frontend.NewMemory(f, 1<<20)
	ring := frontend.NewRing(mem, 16, true)
	start := [][]byte{
		frontend.Encode(16, 0, frontend.U64(ProtocolImplemented)),
		frontend.Encode(2, 8, frontend.U64(testFeatures|1<<30|1<<32)),
		frontend.Encode(37, 8, append(make([]byte, 8), mem.Region(1<<20)...)),
		frontend.Encode(8, 8, frontend.State(0, 16)),
		frontend.Encode(9, 8, ring.Addr(0)),
		frontend.Encode(12, 8, frontend.U64(0)),
		frontend.Encode(18, 8, frontend.State(0, 1)),
		frontend.Encode(11, 8, frontend.State(0, 0)),
	}
	var all []byte
	for _, m := range start {
		f.Add(m, 20)
		all = append(all, m...)
	}
	f.Add(all, 52)
	f.Add(all, 1000)
	dev := newEchoDevice()
	s := newServer("", dev, Options{})
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		before := leak.Now()
		fuzzOnce(t, s, mem, data, step)
		if err := leak.Settles(before); err != nil {
			t.Error(err)
		}
	})
}

func fuzzOnce(t *testing.T, s *Server, mem *frontend.Memory, data []byte, step int) {
	ours, theirs := socketPair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = newConn(s, ours).serve()
	}()
	go func() {
		var b [4096]byte
		for {
			if _, err := theirs.Read(b[:]); err != nil {
				return
			}
		}
	}()
	step = max(1, step%4096)
	for len(data) > 0 {
		n := min(step, len(data))
		if _, _, err := theirs.WriteMsgUnix(data[:n], unix.UnixRights(mem.FD), nil); err != nil {
			break
		}
		data = data[n:]
	}
	_ = theirs.CloseWrite()
	<-done
	_ = theirs.Close()
}
