package vhostuser

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser/internal/frontend"
	"picolab/hostctl/vhostuser/internal/leak"
	"picolab/hostctl/vhostuser/virtq"
)

func TestEcho(t *testing.T) {
	dev := newEchoDevice()
	s := newSession(t, startServer(t, dev))
	for _, text := range []string{"one", "two", "three"} {
		s.echo(t, text)
	}
	if !frontend.Called(s.call) {
		t.Error("no call")
	}
	if base := s.Stop(0); base != 3 {
		t.Errorf("base %d, want 3", base)
	}
	if s.Stop(0) != 3 || s.Stop(1) != 0 {
		t.Error("base of a stopped ring changed")
	}
	s.kick, _ = s.Start(0, s.ring, 3)
	s.echo(t, "again")
	if dev.features != testFeatures|1<<30|1<<32 {
		t.Errorf("features %#x", dev.features)
	}
}

// TestHandshake checks the replies that do not change anything.
func TestHandshake(t *testing.T) {
	c := frontend.Dial(t, startServer(t, newEchoDevice()))
	if f := u64At(c.Call(1, 0, nil)); f != ringFeatures|1<<5|1<<26|1<<34 {
		t.Errorf("features %#x", f)
	}
	if f := u64At(c.Call(15, 0, nil)); f != ProtocolImplemented {
		t.Errorf("protocol features %#x: more or less than is implemented", f)
	}
	if n := u64At(c.Call(17, 0, nil)); n != 2 {
		t.Errorf("%d queues", n)
	}
	if n := u64At(c.Call(36, 0, nil)); n != 64 {
		t.Errorf("%d slots", n)
	}
	c.Negotiate(0)
	if got := c.Call(24, 0, append(frontend.State(4, 5), make([]byte, 9)...)); string(got[12:]) != "igura" {
		t.Errorf("config %q", got)
	}
	for _, bad := range [][2]uint32{{10, 4}, {0xffffffff, 2}, {0, 0xffffffff}} {
		if got := c.Call(24, 0, append(frontend.State(bad[0], bad[1]), make([]byte, 8)...)); len(got) != 0 {
			t.Errorf("config at %d, %d bytes: %q", bad[0], bad[1], got)
		}
	}
	c.Do(39, frontend.U64(0x0f))
	if got := u64At(c.Call(40, 0, nil)); got != 0x0f {
		t.Errorf("status %#x", got)
	}
	c.Do(34, nil)
	if got := u64At(c.Call(40, 0, nil)); got != 0 {
		t.Errorf("status after the reset %#x", got)
	}
}

// TestRefusals: what is acknowledged as failed leaves the connection usable.
func TestRefusals(t *testing.T) {
	s := newSession(t, startServer(t, newEchoDevice()))
	other := frontend.NewMemory(t, 4096)
	overlap := append(make([]byte, 8), s.mem.Region(4096)...)
	badFlags := s.ring.Addr(0)
	badFlags[4] = 2
	tests := []struct {
		name    string
		request uint32
		payload []byte
		fds     []int
	}{
		{"feature not offered", 2, frontend.U64(1 << 63), nil},
		{"protocol feature not offered", 16, frontend.U64(1 << 11), nil},
		{"CVE-2020-10723: index beyond 16 bits", 8, frontend.State(0x10000, 16), nil},
		{"index of no ring", 8, frontend.State(2, 16), nil},
		{"size of a running ring", 8, frontend.State(0, 16), nil},
		{"size 0", 8, frontend.State(1, 0), nil},
		{"size no power of two", 8, frontend.State(1, 100), nil},
		{"size too large", 8, frontend.State(1, 1<<16), nil},
		{"base beyond 16 bits", 10, frontend.State(1, 0x10000), nil},
		{"kick index beyond 8 bits", 12, frontend.U64(1 << 32), []int{s.kick}},
		{"kick without descriptor", 12, frontend.U64(1), nil},
		{"kick with a descriptor that is said to be missing", 12, frontend.U64(1 | 1<<8), []int{s.kick}},
		{"call to no ring", 13, frontend.U64(2), []int{s.call}},
		{"flags of addresses", 9, badFlags, nil},
		{"enable 2", 18, frontend.State(0, 2), nil},
		{"overlapping memory", 37, overlap, []int{other.FD}},
		{"memory without descriptor", 37, overlap, nil},
		{"memory slot that is not there", 38, append(make([]byte, 8), make([]byte, 32)...), nil},
		{"table with too few descriptors", 5, append(frontend.State(2, 0), make([]byte, 64)...), []int{other.FD}},
		{"table of 2^32-1 regions", 5, frontend.State(0xffffffff, 0), nil},
		{"table shorter than it says", 5, frontend.State(1, 0), []int{other.FD}},
		{"MTU of no network device", 20, frontend.U64(1500), nil},
		{"announcement by no network device", 19, frontend.U64(1), nil},
		{"status beyond 8 bits", 39, frontend.U64(1 << 8), nil},
		{"channel without descriptor", 21, nil, nil},
		{"payload too long", 8, make([]byte, 16), nil},
		{"payload too short", 9, make([]byte, 39), nil},
		{"unknown request", 99, nil, nil},
	}
	for _, tt := range tests {
		before := leak.Now().FDs
		if got := s.Try(tt.request, tt.payload, tt.fds...); got == 0 {
			t.Errorf("%s: accepted", tt.name)
		}
		if now := leak.Now().FDs; now != before {
			t.Errorf("%s: %d descriptors more", tt.name, now-before)
		}
	}
	s.echo(t, "still alive")
}

// TestDrops: what cannot be told to the front-end ends the connection, and the next one is served.
func TestDrops(t *testing.T) {
	path := startServer(t, newEchoDevice())
	mem := frontend.NewMemory(t, 4096)
	nine := make([]int, 9)
	for i := range nine {
		nine[i] = mem.FD
	}
	tests := []struct {
		name string
		raw  []byte
		fds  []int
	}{
		{"failure without NEED_REPLY", frontend.Encode(8, 0, frontend.State(9, 1)), nil},
		{"log base, which is always answered", frontend.Encode(6, 8, make([]byte, 16)), nil},
		{"log of no bytes", frontend.Encode(6, 8, make([]byte, 16)), nine[:1]},
		{"log longer than its file", frontend.Encode(6, 8, append(frontend.U64(4097), frontend.U64(0)...)), nine[:1]},
		{"CVE-2020-10722: end of the log overflows", frontend.Encode(6, 8, append(frontend.U64(4096), frontend.U64(^uint64(7))...)), nine[:1]},
		{"base of no ring", frontend.Encode(11, 8, frontend.State(9, 0)), nil},
		{"version 0", make([]byte, 12), nil},
		{"a reply", frontend.Encode(3, 4, nil), nil},
		{"endless payload", append(frontend.Encode(8, 0, nil)[:8], 0xff, 0xff, 0xff, 0xff), nil},
		{"CVE-2022-0669: nine descriptors", frontend.Encode(3, frontend.NeedReply, nil), nine},
		{"half a header, with a descriptor", frontend.Encode(3, 0, nil)[:5], nine[:1]},
		{"half a payload, with a descriptor", frontend.Encode(12, 0, frontend.U64(0))[:15], nine[:1]},
	}
	for _, tt := range tests {
		before := leak.Now()
		c := frontend.Dial(t, path)
		c.Negotiate(0)
		if _, _, err := c.WriteMsgUnix(tt.raw, unix.UnixRights(tt.fds...), nil); err != nil {
			t.Fatal(err)
		}
		_ = c.CloseWrite()
		if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("%s: %d, %v; want the end", tt.name, n, err)
		}
		_ = c.Close()
		if err := leak.Settles(before); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	newSession(t, path).echo(t, "next")
}

// TestRepeats sends each message with a descriptor many times over (CVE-2019-14818, CVE-2020-10726).
func TestCVE_2019_14818(t *testing.T) {
	s := newSession(t, startServer(t, newEchoDevice()))
	s.echo(t, "before")
	before := leak.Now()
	for range 50 {
		s.Do(13, frontend.U64(0), s.call)
		s.Do(14, frontend.U64(0), s.call)
		s.Do(21, nil, s.call)
		s.Do(37, append(make([]byte, 8), s.mem.Region(uint64(len(s.mem.Mem)))...), s.mem.FD)
		s.Do(5, append(frontend.State(1, 0), s.mem.Region(uint64(len(s.mem.Mem)))...), s.mem.FD)
	}
	now := leak.Now()
	if now.FDs > before.FDs+2 || now.Mappings > before.Mappings { // the error descriptor and the channel are new
		t.Errorf("%+v before, %+v after", before, now)
	}
	s.echo(t, "after")
	for range 10 {
		s.kick = s.Eventfd()
		s.Do(12, frontend.U64(0), s.kick)
		s.echo(t, "restarted by a new kick")
	}
}

// TestMemoryRemoved takes the memory away under a running ring, and gives it back.
func TestMemoryRemoved(t *testing.T) {
	s := newSession(t, startServer(t, newEchoDevice()))
	s.echo(t, "before")
	mappings := leak.Now().Mappings
	s.Do(38, append(make([]byte, 8), s.mem.Region(uint64(len(s.mem.Mem)))...))
	if got := leak.Now().Mappings; got != mappings-1 {
		t.Errorf("%d mappings, want %d: the ring holds on to the memory", got, mappings-1)
	}
	if base := s.Stop(0); base != 1 {
		t.Errorf("base %d, want 1", base)
	}
	s.Share(s.mem)
	s.kick, _ = s.Start(0, s.ring, 1)
	s.echo(t, "after")
}

// TestMovedRing gives a running ring the same addresses again, as front-ends do to start logging, and others.
func TestMovedRing(t *testing.T) {
	dev := newEchoDevice()
	s := newSession(t, startServer(t, dev))
	s.echo(t, "before")
	s.Do(9, s.ring.Addr(0))
	s.echo(t, "after")
	if dev.starts.Load() != 1 {
		t.Errorf("started %d times", dev.starts.Load())
	}
	bad := s.ring.Addr(0)
	bad[15] ^= 0xff
	if s.Try(9, bad) == 0 {
		t.Error("bad addresses were accepted")
	}
}

// TestShrunkMemory has the front-end shrink the file under the rings: only its own connection ends.
func TestShrunkMemory(t *testing.T) {
	path := startServer(t, newEchoDevice())
	s := &session{Conn: frontend.Dial(t, path), mem: frontend.NewUnsealedMemory(t, 1<<20, 0)}
	s.Negotiate(testFeatures)
	s.Share(s.mem)
	s.mem.Alloc(8192)
	s.ring = frontend.NewRing(s.mem, 16, true)
	s.kick, _ = s.Start(0, s.ring, 0)
	s.echo(t, "before")
	if err := unix.Ftruncate(s.mem.FD, 4096); err != nil {
		t.Fatal(err)
	}
	frontend.Kick(s.kick)
	if n, err := s.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%d, %v; want the end", n, err)
	}
	newSession(t, path).echo(t, "next")
}

// TestStalledCall fills the counter of a blocking call descriptor, so that our write waits; the ring must stop all the same.
func TestStalledCall(t *testing.T) {
	s := newSession(t, startServer(t, newEchoDevice()))
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	full := []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	if _, err := unix.Write(fd, full); err != nil {
		t.Fatal(err)
	}
	s.Do(13, frontend.U64(0), fd)
	s.echo(t, "the write for this waits")
	start := time.Now()
	if base := s.Stop(0); base != 1 {
		t.Errorf("base %d", base)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("stopped after %v", d)
	}
}

// TestSlowDo makes the front-end wait for a Do that takes long; the call it has not seen yet must still be there.
func TestSlowDo(t *testing.T) {
	dev := newEchoDevice()
	s := newSession(t, startServer(t, dev))
	s.echo(t, "leaves a call behind")
	dev.mu.Lock()
	r := dev.rings[0].ring
	dev.mu.Unlock()
	inside := make(chan struct{})
	go func() {
		_ = r.Do(func(virtq.Queue) error {
			close(inside)
			time.Sleep(3 * stallLimit)
			return nil
		})
	}()
	<-inside
	s.Do(14, frontend.U64(0), s.call) // has to wait for the Do
	if !frontend.Called(s.call) {
		t.Error("the call is lost")
	}
}

// TestFailedStart: a device that refuses, and addresses that lead nowhere.
func TestFailedStart(t *testing.T) {
	dev := newEchoDevice()
	dev.refuse = errors.New("no")
	s := &session{Conn: frontend.Dial(t, startServer(t, dev)), mem: frontend.NewMemory(t, 1<<20)}
	s.Negotiate(testFeatures)
	s.ring = frontend.NewRing(s.mem, 16, true)
	s.Do(8, frontend.State(0, 16))
	s.Do(9, s.ring.Addr(0))
	s.Do(18, frontend.State(0, 1))
	if s.Try(12, frontend.U64(0), s.Eventfd()) == 0 {
		t.Error("a ring without memory was started")
	}
	s.Share(s.mem)
	if s.Try(12, frontend.U64(0), s.Eventfd()) == 0 {
		t.Error("the device's refusal is lost")
	}
}

// TestRestart lets front-ends come and go, in the middle of things.
func TestRestart(t *testing.T) {
	dev := newEchoDevice()
	path := startServer(t, dev)
	before := leak.Now()
	for range 5 {
		mem := frontend.NewMemory(t, 1<<20)
		s := &session{Conn: frontend.Dial(t, path), mem: mem}
		s.Negotiate(testFeatures)
		s.Share(mem)
		s.ring = frontend.NewRing(mem, 16, true)
		// The driver ran before: there is work in the ring, and no kick.
		in, out := mem.Alloc(4), mem.Alloc(4)
		s.ring.Add(frontend.Buf{Off: in, Len: 4}, frontend.Buf{Off: out, Len: 4, Write: true})
		s.kick, s.call = s.Start(0, s.ring, 0)
		for s.ring.PublishedUsed() == 0 {
			time.Sleep(time.Millisecond)
		}
		_ = s.Close()
	}
	before.FDs += 5*3 + 0 // what the front-ends hold until the test ends: memory, kick, call
	before.Mappings += 5
	if err := leak.Settles(before); err != nil {
		t.Error(err)
	}
	dev.mu.Lock()
	defer dev.mu.Unlock()
	if dev.starts.Load() != 5 {
		t.Errorf("%d starts", dev.starts.Load())
	}
}

// TestClientMode connects to a front-end that listens, goes away and comes back.
func TestClientMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "qemu")
	s := Dial(path, newEchoDevice(), Options{Retry: time.Millisecond})
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background()) }()
	for range 3 {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		uc, err := l.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		c := frontend.Over(t, uc)
		c.Negotiate(0)
		_ = c.Close()
	}
	_ = s.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestListenPath(t *testing.T) {
	dir := t.TempDir()
	file, sock := filepath.Join(dir, "file"), filepath.Join(dir, "sock")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(dir, string(make([]byte, 100)))
	for _, path := range []string{file, long, filepath.Join(dir, "no", "such")} {
		if s, err := Listen(path, newEchoDevice(), Options{}); err == nil {
			_ = s.Close()
			t.Errorf("listening on %s", path)
		}
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("a file that is no socket was removed: %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: sock, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(sock, newEchoDevice(), Options{}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("socket in use: %v", err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close() // leaves a stale file
	s, err := Listen(sock, newEchoDevice(), Options{})
	if err != nil {
		t.Fatalf("stale socket: %v", err)
	}
	if st, err := os.Stat(sock); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	_ = s.Close()
}

// TestDoAllocates nothing: it is the switch's hot path.
func TestDoAllocates(t *testing.T) {
	dev := newEchoDevice()
	s := newSession(t, startServer(t, dev))
	s.echo(t, "running")
	dev.mu.Lock()
	r := dev.rings[0].ring
	dev.mu.Unlock()
	n := 0
	fn := func(q virtq.Queue) error { n += q.Size(); return nil }
	allocs := testing.AllocsPerRun(1000, func() {
		if err := r.Do(fn); err != nil {
			t.Fatal(err)
		}
	})
	if allocs >= 1 || n == 0 { // the device's own goroutine may allocate once in a while
		t.Errorf("%v allocations", allocs)
	}
}
