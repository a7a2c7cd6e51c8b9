package memif

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sequences is how many hostile message sequences to try: $PICOLAB_HOSTILE, or few.
func sequences() int {
	if n, err := strconv.Atoi(os.Getenv("PICOLAB_HOSTILE")); err == nil {
		return n
	}
	return 300
}

// hostile is a client that sends what it likes.
type hostile struct {
	channel
	t   *testing.T
	rnd *rand.Rand
	fds []int // memory, memory without seals, eventfd, pipe
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	h := &hostile{t: t, rnd: rand.New(rand.NewPCG(1, 2))}
	fd, mem, err := makeRegion(1 << 16)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 4096} {
		binary.LittleEndian.PutUint32(mem[i:], cookie)
	}
	_ = unix.Munmap(mem)
	loose, err := unix.MemfdCreate("loose", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Ftruncate(loose, 1<<16)
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	h.fds = []int{fd, fd, fd, event, event, loose, pipe[0], pipe[1]}
	t.Cleanup(func() {
		for _, fd := range []int{fd, loose, event, pipe[0], pipe[1]} {
			_ = unix.Close(fd)
		}
	})
	return h
}

func (h *hostile) dial(path string) {
	h.t.Helper()
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		h.t.Fatal(err)
	}
	h.channel = channel{conn: conn, fd: -1}
}

// message is well-formed more often than not, with numbers that matter.
func (h *hostile) message() *message {
	numbers := []uint32{0, 0, 0, 1, 1, 2, 9, 64, 4096, 1 << 15, 1 << 16, 1 << 31, 0xffffffff}
	n := func() uint32 { return numbers[h.rnd.IntN(len(numbers))] }
	switch h.rnd.IntN(8) {
	case 0, 1:
		return encodeRegion(uint16(h.rnd.IntN(3)), uint64(n())<<(h.rnd.IntN(2)*16))
	case 2, 3, 4:
		return addRing{h.rnd.IntN(2) == 0, uint16(h.rnd.IntN(3)), uint16(h.rnd.IntN(2)), n(), uint8(h.rnd.IntN(20))}.encode()
	case 5:
		return newMessage(msgConnect)
	case 6:
		return initial{version: version}.encode()
	}
	m := newMessage(uint16(n()))
	for i := 2; i < messageSize; i++ {
		m[i] = byte(h.rnd.Uint32())
	}
	return m
}

func (h *hostile) someFDs() []int {
	var fds []int
	for range []int{0, 1, 1, 1, 1, 1, 2, 20}[h.rnd.IntN(8)] {
		fds = append(fds, h.fds[h.rnd.IntN(len(h.fds))])
	}
	return fds
}

// TestHostileSequences sends random messages with random descriptors on connection after connection, with the port being
// worked all the while. Nothing may be left of them, and the next client is served. TestMain counts descriptors.
func TestHostileSequences(t *testing.T) {
	path := socketPath(t)
	p, _ := start(t, Config{Role: Server, Path: path, Queues: 2, Logf: func(string, ...any) {}})
	stop, worked := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(worked)
		in := room(8, 2048)
		for {
			select {
			case <-stop:
				return
			default:
			}
			n, _ := p.Take(0, in)
			p.Put(0, in[:n])
			time.Sleep(time.Microsecond)
		}
	}()
	h := newHostile(t)
	for range sequences() {
		h.dial(path)
		if _, err := h.expect(msgHello); err != nil {
			t.Fatal(err)
		}
		if h.rnd.IntN(4) != 0 {
			_ = h.send(initial{version: version}.encode())
		}
		if h.rnd.IntN(2) != 0 {
			_ = h.send(encodeRegion(0, 1<<16), h.fds[0])
		}
		for range 3 + h.rnd.IntN(8) {
			if h.send(h.message(), h.someFDs()...) != nil {
				break
			}
		}
		_ = h.conn.Close()
		h.drop()
	}
	close(stop)
	<-worked
	_, _ = start(t, Config{Role: Client, Path: path, Queues: 2})
	await(t, "the next connection", func() bool { return p.Up(1) })
	if n, err := os.ReadFile("/proc/self/maps"); err != nil || countOf(string(n), "memfd:memif") != 2 {
		t.Errorf("%d mappings, want both ends of one", countOf(string(n), "memfd:memif"))
	}
}

func countOf(s, part string) (n int) {
	for i := 0; i+len(part) <= len(s); i++ {
		if s[i:i+len(part)] == part {
			n++
		}
	}
	return n
}

// TestShrunkRegion: memory that goes away ends the connection, and nothing else.
func TestShrunkRegion(t *testing.T) {
	path := socketPath(t)
	p, events := start(t, Config{Role: Server, Path: path})
	fd, err := unix.MemfdCreate("shrinks", unix.MFD_CLOEXEC) // cannot be sealed, and so cannot be refused
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	_ = unix.Ftruncate(fd, 1<<16)
	_, _ = unix.Pwrite(fd, binary.LittleEndian.AppendUint32(nil, cookie), 0)
	_, _ = unix.Pwrite(fd, binary.LittleEndian.AppendUint32(nil, cookie), 4096)
	h := newHostile(t)
	h.dial(path)
	defer func() { _ = h.conn.Close(); h.drop() }()
	if _, err := h.expect(msgHello); err != nil {
		t.Fatal(err)
	}
	err = errors.Join(h.request(initial{version: version}.encode()), h.request(encodeRegion(0, 1<<16), fd),
		h.request(addRing{true, 0, 0, 0, 4}.encode(), h.fds[3]), h.request(addRing{false, 0, 0, 4096, 4}.encode(), h.fds[3]),
		h.send(newMessage(msgConnect)))
	if _, e := h.expect(msgConnected); err != nil || e != nil {
		t.Fatal(err, e)
	}
	_ = unix.Ftruncate(fd, 0)
	if _, err := p.Take(0, room(1, 100)); err != ErrDown {
		t.Errorf("%v", err)
	}
	await(t, "the end", func() bool { return events.String() == "[up 0 down 0]" })
}

// TestCVE_2020_10722 and its like: sizes and offsets are added without overflow.
func TestCVE_2020_10722(t *testing.T) {
	h := newHostile(t)
	for _, size := range []uint64{0, 1<<16 + 1, 1 << 41, ^uint64(0)} {
		if mem, err := mapRegion(h.fds[0], size); err == nil {
			_ = unix.Munmap(mem)
			t.Errorf("region of %#x bytes of a file of 2^16", size)
		}
	}
	for _, fd := range []int{h.fds[3], h.fds[5], h.fds[6], -1} {
		if mem, err := mapRegion(fd, 4096); err == nil {
			_ = unix.Munmap(mem)
			t.Errorf("descriptor %d is no memory", fd)
		}
	}
	mem := make([]byte, 1<<16)
	binary.LittleEndian.PutUint32(mem[8:], cookie)
	for _, a := range []addRing{{offset: 0xffff_fff8, log2: 4}, {offset: 8, log2: 0}, {offset: 8, log2: 15}, {offset: 8, log2: 14}, {offset: 4, log2: 4},
		{offset: 16, log2: 4}, {region: 1, log2: 4}} {
		if err := new(ring).locate([][]byte{mem}, a.region, a.offset, a.log2); err == nil {
			t.Errorf("%+v: located", a)
		}
	}
}
