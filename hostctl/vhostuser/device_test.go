package vhostuser

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser/internal/frontend"
	"picolab/hostctl/vhostuser/internal/leak"
	"picolab/hostctl/vhostuser/virtq"
)

func TestMain(m *testing.M) { leak.Main(m) }

// echoDevice copies what a buffer holds into the space behind it. A goroutine for each ring waits for kicks.
type echoDevice struct {
	mu       sync.Mutex
	features uint64
	rings    map[int]*worker
	starts   atomic.Int32
	stops    int
	refuse   error // what StartRing returns
}

type worker struct {
	ring *Ring
	stop int // eventfd
	done chan struct{}
}

func newEchoDevice() *echoDevice { return &echoDevice{rings: make(map[int]*worker)} }

func (d *echoDevice) Queues() int              { return 2 }
func (d *echoDevice) Features() uint64         { return 1<<5 | virtq.FeaturePacked }
func (d *echoDevice) ProtocolFeatures() uint64 { return ProtocolImplemented | 1<<11 } // and one that is not
func (d *echoDevice) Config() []byte           { return []byte("configuration") }
func (d *echoDevice) Disconnected()            {}

func (d *echoDevice) SetFeatures(f uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.features = f
	return nil
}

func (d *echoDevice) StartRing(r *Ring) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse != nil {
		return d.refuse
	}
	d.starts.Add(1)
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return err
	}
	w := &worker{ring: r, stop: stop, done: make(chan struct{})}
	d.rings[r.Index()] = w
	go w.run()
	return nil
}

func (d *echoDevice) StopRing(r *Ring) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stops++
	w := d.rings[r.Index()]
	frontend.Kick(w.stop)
	<-w.done
	_ = unix.Close(w.stop)
	delete(d.rings, r.Index())
}

func (w *worker) run() {
	defer close(w.done)
	for {
		if err := w.ring.Do(echoAll); err != nil {
			break
		}
		fds := []unix.PollFd{{Fd: int32(w.stop), Events: unix.POLLIN}, {Fd: int32(w.ring.KickFD()), Events: unix.POLLIN}}
		_, _ = unix.Poll(fds, 20)
		if fds[0].Revents != 0 {
			return
		}
	}
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(w.stop), Events: unix.POLLIN}}, -1)
}

func echoAll(q virtq.Queue) error {
	var c virtq.Chain
	for {
		ok, err := q.Pop(&c)
		if err != nil {
			return err
		}
		if !ok {
			if q.EnableKick() {
				continue
			}
			return nil
		}
		buf := make([]byte, min(c.Readable(), 4096))
		q.Push(&c, c.Write(buf[:c.Read(buf)]))
	}
}

// startServer serves dev until the test ends, and returns the socket's path.
func startServer(t testing.TB, dev Device) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vhost")
	s, err := Listen(path, dev, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("socket left behind: %v", err)
		}
	})
	return path
}

const testFeatures = virtq.FeatureIndirect | virtq.FeatureEventIdx

// session is a front-end that has one ring running.
type session struct {
	*frontend.Conn
	mem        *frontend.Memory
	ring       *frontend.Ring
	kick, call int
}

func newSession(t testing.TB, path string) *session {
	t.Helper()
	s := &session{Conn: frontend.Dial(t, path), mem: frontend.NewMemory(t, 1<<20)}
	s.Negotiate(testFeatures)
	s.Share(s.mem)
	s.ring = frontend.NewRing(s.mem, 16, true)
	s.kick, s.call = s.Start(0, s.ring, 0)
	return s
}

// echo sends text through the ring and waits for it.
func (s *session) echo(t testing.TB, text string) {
	t.Helper()
	in, out := s.mem.Alloc(len(text)), s.mem.Alloc(len(text))
	copy(s.mem.Mem[in:], text)
	s.ring.Add(frontend.Buf{Off: in, Len: len(text)}, frontend.Buf{Off: out, Len: len(text), Write: true})
	frontend.Kick(s.kick)
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Microsecond) {
		if _, n, ok := s.ring.Take(); ok {
			if got := string(s.mem.Mem[out:][:n]); got != text {
				t.Errorf("echo of %q: %q", text, got)
			}
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("no answer to %q", text)
		}
	}
}

func u64At(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
