package vhostuser

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser/internal/frontend"
	"picolab/hostctl/vhostuser/internal/leak"
	"picolab/hostctl/vhostuser/virtq"
)

// migrated is a front-end's log: what it does to a session when a guest is about to move.
type migrated struct {
	*frontend.Conn
	mem, bits *frontend.Memory
	features  uint64
	ring      frontend.Layout
	used      int // device area
}

// setLog gives the device a log for all of memory.
func (m *migrated) setLog(t *testing.T) {
	t.Helper()
	m.bits = frontend.NewMemory(t, int(m.mem.GPA+uint64(len(m.mem.Mem)))/4096/8)
	if reply := m.Call(6, 0, append(frontend.U64(uint64(len(m.bits.Mem))), frontend.U64(0)...), m.bits.FD); len(reply) != 8 {
		t.Errorf("reply %x", reply)
	}
}

// log turns logging on or off, as QEMU does.
func (m *migrated) log(buffers, ring bool) {
	features, addr := m.features|1<<30|1<<32, m.ring.Addr(0)
	if buffers {
		features |= FeatureLogAll
	}
	if ring {
		addr[4] = 1
	}
	copy(addr[32:], frontend.U64(m.mem.GPA+uint64(m.used)))
	m.Do(2, frontend.U64(features))
	m.Do(9, addr)
}

// marked returns the pages of memory that are marked, and clears the log.
func (m *migrated) marked() (pages []int) {
	for p := range 8 * len(m.bits.Mem) {
		if m.bits.Mem[p/8]&(1<<(p%8)) != 0 {
			pages = append(pages, p-int(m.mem.GPA/4096))
		}
	}
	clear(m.bits.Mem)
	return pages
}

// missing returns the pages that changed since before and are not among those marked.
func (m *migrated) missing(before []byte, marked []int) (pages []int) {
	have := map[int]bool{}
	for _, p := range marked {
		have[p] = true
	}
	for p := range len(before) / 4096 {
		if !have[p] && !bytes.Equal(before[p*4096:][:4096], m.mem.Mem[p*4096:][:4096]) {
			pages = append(pages, p)
		}
	}
	return pages
}

// TestMigration turns logging on and off under a running ring. Everything in the first pages is the ring's, and the driver
// writes there, too; buffers are beyond.
func TestMigration(t *testing.T) {
	s := newSession(t, startServer(t, newEchoDevice()))
	testMigration(t, &migrated{Conn: s.Conn, mem: s.mem, features: testFeatures, ring: s.ring, used: s.ring.Used},
		func(text string) { s.echo(t, text) })
}

func TestPackedMigration(t *testing.T) {
	s := newPackedSession(t, startServer(t, newEchoDevice()))
	m := &migrated{Conn: s.Conn, mem: s.mem, features: testFeatures | virtq.FeaturePacked, ring: s.ring, used: s.ring.Device}
	testMigration(t, m, func(text string) { s.echo(t, text) })
}

func testMigration(t *testing.T, m *migrated, echo func(string)) {
	m.mem.Alloc(1 << 16)
	echo("before")
	m.log(true, true) // without a log yet: nothing to write to
	echo("no log")
	m.setLog(t)
	for _, tt := range []struct{ buffers, ring bool }{{true, true}, {false, false}, {true, false}, {false, true}, {true, true}} {
		m.log(tt.buffers, tt.ring)
		m.marked()
		before := bytes.Clone(m.mem.Mem)
		m.mem.Alloc(4096)
		echo("logged")
		m.Do(14, frontend.U64(1<<8)) // nobody is in Do any more
		marked := m.marked()
		ring, buffers := false, false
		for _, p := range marked {
			ring, buffers = ring || p < 16, buffers || p >= 16
		}
		if ring != tt.ring || buffers != tt.buffers {
			t.Errorf("logging %+v: pages %v", tt, marked)
		}
		if gone := m.missing(before, marked); tt.ring && tt.buffers && len(gone) > 1 { // the driver writes its input: one page
			t.Errorf("pages %v are not marked", gone)
		}
	}
	old := m.bits
	before := leak.Now()
	m.setLog(t)
	if now := leak.Now(); now.Mappings != before.Mappings+1 || now.FDs != before.FDs+1 { // the front-end's own
		t.Errorf("%+v before, %+v after another log", before, now)
	}
	clear(old.Mem)
	echo("other log")
	if clean := make([]byte, len(old.Mem)); len(m.marked()) == 0 || !bytes.Equal(old.Mem, clean) {
		t.Error("the old log is still in use")
	}
}

// TestLogFD: the front-end hears of marks.
func TestLogFD(t *testing.T) {
	s := newSession(t, startServer(t, newEchoDevice()))
	before := leak.Now().FDs
	fd := s.Eventfd()
	for range 10 {
		s.Do(7, nil, fd)
	}
	s.echo(t, "heard")
	s.Do(7, nil)
	if !frontend.Called(fd) {
		t.Error("silence")
	}
	s.echo(t, "not heard")
	s.Do(14, frontend.U64(1<<8))
	if frontend.Called(fd) {
		t.Error("a descriptor that was taken back is in use")
	}
	if now := leak.Now().FDs; now != before+1 {
		t.Errorf("%d descriptors more", now-before)
	}
}

// TestStalledLogFD is TestStalledCall for the log's descriptor.
func TestStalledLogFD(t *testing.T) {
	s := newSession(t, startServer(t, newEchoDevice()))
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	s.Do(7, nil, fd)
	s.echo(t, "the write for this waits")
	if base := s.Stop(0); base != 1 {
		t.Errorf("base %d", base)
	}
}

// TestShrunkLog: a front-end that takes the log away loses its connection.
func TestShrunkLog(t *testing.T) {
	path := startServer(t, newEchoDevice())
	s := newSession(t, path)
	bits := frontend.NewUnsealedMemory(t, 1<<16, 0)
	s.Call(6, 0, append(frontend.U64(1<<16), frontend.U64(0)...), bits.FD)
	if err := unix.Ftruncate(bits.FD, 0); err != nil {
		t.Fatal(err)
	}
	s.Do(2, frontend.U64(testFeatures|FeatureLogAll))
	in, out := s.mem.Alloc(1), s.mem.Alloc(1)
	s.ring.Add(frontend.Buf{Off: in, Len: 1}, frontend.Buf{Off: out, Len: 1, Write: true})
	frontend.Kick(s.kick)
	if n, err := s.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%d, %v; want the end", n, err)
	}
	newSession(t, path).echo(t, "next")
}

// TestShrunkMemoryMoved has the front-end shrink its memory and move the ring: setting up the queue touches it.
func TestShrunkMemoryMoved(t *testing.T) {
	path := startServer(t, newEchoDevice())
	before := leak.Now()
	s := &session{Conn: frontend.Dial(t, path), mem: frontend.NewUnsealedMemory(t, 1<<20, 0)}
	s.Negotiate(testFeatures)
	s.Share(s.mem)
	s.mem.Alloc(8192)
	s.ring = frontend.NewRing(s.mem, 16, true)
	s.Do(8, frontend.State(0, 16))
	s.Do(9, s.ring.Addr(0))
	if err := unix.Ftruncate(s.mem.FD, 4096); err != nil {
		t.Fatal(err)
	}
	s.Do(18, frontend.State(0, 1))
	if s.Try(12, frontend.U64(0), s.Eventfd()) == 0 {
		t.Error("a ring without memory was started")
	}
	_ = s.Close()
	before.FDs += 2 // the front-end's memory and kick
	before.Mappings++
	if err := leak.Settles(before); err != nil {
		t.Error(err)
	}
}

func TestLogRefused(t *testing.T) {
	mem := frontend.NewMemory(t, 1<<16)
	c := frontend.Dial(t, startServer(t, splitOnly{newEchoDevice()}))
	if f := u64At(c.Call(1, 0, nil)); f&FeatureLogAll != 0 {
		t.Errorf("features %#x", f)
	}
	c.Negotiate(0)
	addr := frontend.NewRing(mem, 16, true).Addr(0)
	addr[4] = 1
	if c.Try(9, addr) == 0 || c.Try(2, frontend.U64(FeatureLogAll)) == 0 {
		t.Error("logging was accepted though it was not offered")
	}
	_ = c.Send(6, frontend.NeedReply, append(frontend.U64(8), frontend.U64(0)...), mem.FD)
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("a log: %d, %v; want the end", n, err)
	}
}
