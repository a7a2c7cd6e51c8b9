package memif

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picolab/guestagent/internal/leak"
)

func TestMain(m *testing.M) {
	if l, err := net.Listen("unix", ""); err == nil { // the runtime's own epoll is made here, not while a test runs
		_ = l.Close()
	}
	os.Exit(leak.Run(m))
}

// record remembers what a port tells.
type record struct {
	mu  sync.Mutex
	log []string
	fds map[int]int
}

func (r *record) Up(queue, fd int) {
	r.add(fmt.Sprintf("up %d", queue))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fds == nil {
		r.fds = map[int]int{}
	}
	r.fds[queue] = fd
}

func (r *record) Down(queue int) { r.add(fmt.Sprintf("down %d", queue)) }

func (r *record) add(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, s)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprint(r.log)
}

// interrupted reports whether the queue's interrupt is there, and takes it.
func (r *record) interrupted(queue int) bool {
	r.mu.Lock()
	fd := r.fds[queue]
	r.mu.Unlock()
	var b [8]byte
	n, _ := unix.Read(fd, b[:])
	return n == 8
}

// socketPath is short enough for a socket.
func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "memif")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// start makes and serves a port until the test ends.
func start(t testing.TB, cfg Config) (*Port, *record) {
	t.Helper()
	events := &record{}
	if cfg.Logf == nil {
		cfg.Logf = t.Logf
	}
	p, err := New(cfg, events)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	serving.Go(func() {
		if err := p.Serve(ctx); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); serving.Wait() })
	return p, events
}

func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%s does not happen", what)
		}
	}
}

// pair connects a server and a client.
func pair(t testing.TB, queues, size, buffer int) (server, client *Port) {
	t.Helper()
	path := socketPath(t)
	server, _ = start(t, Config{Role: Server, Path: path, Queues: queues})
	client, _ = start(t, Config{Role: Client, Path: path, Queues: queues, Size: size, Buffer: buffer})
	await(t, "the connection", func() bool { return server.Up(queues-1) && client.Up(queues-1) })
	return server, client
}

func pattern(n, seed int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + seed)
	}
	return b
}

// number makes frame i, whose length and content follow from i.
func number(i, longest int) []byte {
	b := pattern(60+i*31%(longest-59), i)
	binary.BigEndian.PutUint32(b[14:], uint32(i))
	return b
}

func room(n, size int) [][]byte {
	f := make([][]byte, n)
	for i := range f {
		f[i] = make([]byte, 0, size)
	}
	return f
}

// TestBothWays sends numbered frames of all lengths both ways at once, in one buffer and in several.
func TestBothWays(t *testing.T) {
	for _, tt := range []struct{ size, buffer, longest int }{{2, 64, 100}, {256, 2048, 1514}, {1024, 2048, 9014}, {64, 128, 5000}, {16384, 4096, MaxFrame}} {
		t.Run(fmt.Sprintf("%d of %d", tt.size, tt.buffer), func(t *testing.T) {
			server, client := pair(t, 1, tt.size, tt.buffer)
			var flows sync.WaitGroup
			flows.Go(func() { flow(t, server, client, tt.longest) })
			flows.Go(func() { flow(t, client, server, tt.longest) })
			flows.Wait()
			a, b := server.Stats(), client.Stats()
			if a.FromBytes != b.ToBytes || b.FromBytes != a.ToBytes || a.FromBad+b.FromBad != 0 {
				t.Errorf("server %+v, client %+v", a, b)
			}
		})
	}
}

// flow sends frames from one port to the other, as fast as they go, and checks each.
func flow(t *testing.T, from, to *Port, longest int) {
	in := room(32, MaxFrame)
	limit := time.Now().Add(20 * time.Second)
	for sent, received := 0, 0; received < 3000 && !t.Failed(); {
		for sent < 3000 && from.Put(0, [][]byte{number(sent, longest)}) == 1 {
			sent++
		}
		n, err := to.Take(0, in)
		if err != nil || time.Now().After(limit) {
			t.Errorf("%d sent, %d received: %v", sent, received, err)
			return
		}
		for _, f := range in[:n] {
			if !bytes.Equal(f, number(received, longest)) {
				t.Errorf("frame %d: %d bytes", received, len(f))
				return
			}
			received++
		}
		runtime.Gosched()
	}
}

// TestFull: what does not fit is left out and counted, and what is shorter may fit.
func TestFull(t *testing.T) {
	for _, back := range []bool{false, true} {
		from, to := pair(t, 1, 4, 128)
		if back {
			from, to = to, from
		}
		n := from.Put(0, [][]byte{pattern(300, 0), pattern(200, 1), pattern(100, 2), pattern(60, 3)})
		if s := from.Stats(); n != 2 || s.ToFull != 2 || s.ToFrames != 2 || s.ToBytes != 400 {
			t.Errorf("%d put, %+v", n, s)
		}
		in := room(4, 200)
		n, err := to.Take(0, in) // there is no room for the first one
		if err != nil || n != 1 || !bytes.Equal(in[0], pattern(100, 2)) || to.Stats().FromBad != 1 {
			t.Errorf("%d taken, %v, %+v", n, err, to.Stats())
		}
		if n := from.Put(0, [][]byte{pattern(500, 1)}); n != 1 {
			t.Error("the ring is not empty again")
		}
	}
}

// TestNothingElse: what lies behind a frame in its sender's memory does not get into the ring.
func TestNothingElse(t *testing.T) {
	server, client := pair(t, 1, 64, 128)
	secret := bytes.Repeat([]byte("s3cret"), 100)
	for n := 14; n < 100; n++ {
		if server.Put(0, [][]byte{append(secret[:0:600], pattern(n, 0)...)}) != 1 || client.Put(0, [][]byte{append(secret[:0:600], pattern(n, 0)...)}) != 1 {
			t.Fatal("not put")
		}
		copy(secret, bytes.Repeat([]byte("s3cret"), 20))
		for _, p := range []*Port{server, client} {
			if bytes.Contains(p.queues[0].to.regions[0], []byte("s3cret")) {
				t.Fatalf("frame of %d bytes: more than the frame is in the ring", n)
			}
			other := map[*Port]*Port{server: client, client: server}[p]
			if k, _ := other.Take(0, room(1, 200)); k != 1 {
				t.Fatal("not taken")
			}
		}
	}
}

// TestArm: no interrupts while polled, one when asked for, and none missed.
func TestArm(t *testing.T) {
	path := socketPath(t)
	server, se := start(t, Config{Role: Server, Path: path})
	client, ce := start(t, Config{Role: Client, Path: path})
	await(t, "the connection", func() bool { return server.Up(0) && client.Up(0) })
	for _, p := range []struct {
		from, to *Port
		events   *record
	}{{client, server, se}, {server, client, ce}} {
		one, in := [][]byte{pattern(60, 0)}, room(4, 100)
		p.from.Put(0, one)
		if p.events.interrupted(0) {
			t.Error("interrupt without asking")
		}
		if !p.to.Arm(0) {
			t.Error("a frame was missed")
		}
		if n, _ := p.to.Take(0, in); n != 1 {
			t.Errorf("%d frames", n)
		}
		if p.to.Arm(0) {
			t.Error("a frame too many")
		}
		if p.from.Put(0, one); !p.events.interrupted(0) {
			t.Error("no interrupt")
		}
		_, _ = p.to.Take(0, in)
		if p.from.Put(0, one); p.events.interrupted(0) {
			t.Error("interrupt after frames were taken")
		}
	}
}

// TestReconnect has either end go and come back.
func TestReconnect(t *testing.T) {
	path := socketPath(t)
	var server, client *Port
	events := &record{}
	run := func(role Role, e Events) (*Port, func()) {
		p, err := New(Config{Role: role, Path: path, Queues: 2, Logf: t.Logf}, e)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); _ = p.Serve(context.Background()) }()
		return p, func() { p.Close(); <-done }
	}
	client, stopClient := run(Client, events)
	for range 3 { // the client is there first
		var stopServer func()
		server, stopServer = run(Server, &record{})
		await(t, "the connection", func() bool { return server.Up(1) && client.Up(1) })
		server.Put(1, [][]byte{pattern(60, 1)})
		in := room(2, 100)
		if n, err := client.Take(1, in); n != 1 || err != nil {
			t.Errorf("%d frames, %v", n, err)
		}
		stopServer()
		await(t, "the end", func() bool { return !client.Up(0) && !client.Up(1) })
		if _, err := client.Take(0, in); err != ErrDown {
			t.Error(err)
		}
		if client.Put(0, [][]byte{pattern(60, 1)}) != 0 || client.Arm(0) {
			t.Error("a port that is down works")
		}
	}
	stopClient()
	want := "[up 0 up 1 down 0 down 1 up 0 up 1 down 0 down 1 up 0 up 1 down 0 down 1]"
	if events.String() != want || client.Stats().ToDown != 3 {
		t.Errorf("events %v, %+v", events, client.Stats())
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("socket left behind: %v", err)
	}
}

// TestAdmission: wrong interface, wrong secret.
func TestAdmission(t *testing.T) {
	for name, c := range map[string]Config{"id": {ID: 8, Secret: "key"}, "secret": {ID: 7, Secret: "kex"}, "no secret": {ID: 7}} {
		path := socketPath(t)
		server, _ := start(t, Config{Role: Server, Path: path, ID: 7, Secret: "key"})
		var mu sync.Mutex
		refused := false
		c.Role, c.Path = Client, path
		c.Logf = func(string, ...any) { mu.Lock(); refused = true; mu.Unlock() }
		_, events := start(t, c)
		await(t, "the refusal", func() bool { mu.Lock(); defer mu.Unlock(); return refused })
		if server.Up(0) || events.String() != "[]" {
			t.Errorf("wrong %s: admitted", name)
		}
	}
	path := socketPath(t)
	server, _ := start(t, Config{Role: Server, Path: path, ID: 7, Secret: "key"})
	start(t, Config{Role: Client, Path: path, ID: 7, Secret: "key"})
	await(t, "the connection", func() bool { return server.Up(0) })
}

func TestNewRefuses(t *testing.T) {
	path := socketPath(t)
	for _, c := range []Config{{Queues: -1}, {Queues: MaxQueues + 1}, {Size: 3}, {Size: 1}, {Size: 1 << 15}, {Buffer: 63}, {Buffer: 1 << 16},
		{Secret: "more than twenty-four bytes"}, {Role: Server, Path: filepath.Join(path, "nowhere")}} {
		if _, err := New(c, &record{}); err == nil {
			t.Errorf("%+v: accepted", c)
		}
	}
	start(t, Config{Path: path})
	if _, err := New(Config{Path: path}, &record{}); err == nil {
		t.Error("a second server on one socket")
	}
}

func TestNoAllocations(t *testing.T) {
	server, client := pair(t, 1, 256, 2048)
	out, in := [][]byte{pattern(60, 0), pattern(1514, 1), pattern(5000, 2)}, room(8, 9000)
	n := testing.AllocsPerRun(100, func() {
		client.Put(0, out)
		k, _ := server.Take(0, in)
		server.Put(0, in[:k])
		if k, _ = client.Take(0, in); k != 3 {
			t.Fatalf("%d frames", k)
		}
		client.Arm(0)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
