package vnet

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"picolab/hostctl/vhostuser"
	"picolab/hostctl/vhostuser/internal/frontend"
	"picolab/hostctl/vhostuser/internal/leak"
	"picolab/hostctl/vhostuser/virtq"
)

func TestMain(m *testing.M) { leak.Main(m) }

// ring is a guest's ring of either layout.
type ring interface {
	frontend.Layout
	Add(bufs ...frontend.Buf) uint16
	Take() (id uint16, written int, ok bool)
}

// guest is a front-end with some queue pairs running on a port.
type guest struct {
	*frontend.Conn
	port   *Port
	mem    *frontend.Memory
	rx, tx []ring
	posted map[uint16][]frontend.Buf // of the first receive queue
	events *record
}

// record remembers what a port tells.
type record struct {
	mu  sync.Mutex
	log []string
}

func (r *record) Up(pair, kick int) { r.add(fmt.Sprintf("up %d %v", pair, kick >= 0)) }
func (r *record) Down(pair int)     { r.add(fmt.Sprintf("down %d", pair)) }

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

const (
	testSize    = 64 // entries
	testOffload = featureMrgRxbuf | featureCsum | featureGuestCsum | featureGuestTSO4 | featureHostTSO4
)

func newGuest(t testing.TB, pairs int, features uint64) *guest {
	t.Helper()
	return newGuestIn(t, frontend.NewMemory(t, 4<<20), pairs, features)
}

func newGuestIn(t testing.TB, mem *frontend.Memory, pairs int, features uint64) *guest {
	t.Helper()
	g := &guest{events: &record{}, posted: map[uint16][]frontend.Buf{}}
	var err error
	if g.port, err = New(pairs, g.events); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "vhost")
	s, err := vhostuser.Listen(path, g.port.Device(), vhostuser.Options{Logf: t.Logf})
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
	})
	g.Conn, g.mem = frontend.Dial(t, path), mem
	g.Negotiate(features | virtq.FeatureIndirect | virtq.FeatureEventIdx)
	g.Share(g.mem)
	for i := range pairs {
		g.rx, g.tx = append(g.rx, g.newRing(features)), append(g.tx, g.newRing(features))
		base := uint32(0)
		if features&virtq.FeaturePacked != 0 {
			base = virtq.PackedBase
		}
		g.Start(uint32(2*i), g.rx[i], base)
		g.Start(uint32(2*i+1), g.tx[i], base)
	}
	return g
}

func (g *guest) newRing(features uint64) ring {
	inOrder := features&virtq.FeatureInOrder != 0
	if features&virtq.FeaturePacked != 0 {
		r := frontend.NewPacked(g.mem, testSize)
		r.InOrder = inOrder
		return r
	}
	r := frontend.NewRing(g.mem, testSize, true)
	r.InOrder = inOrder
	return r
}

// piece puts bytes into the guest's memory.
func (g *guest) piece(b []byte) frontend.Buf {
	off := g.mem.Alloc(len(b))
	copy(g.mem.Mem[off:], b)
	return frontend.Buf{Off: off, Len: len(b)}
}

func encoded(h Header) []byte {
	var b [headerSize]byte
	h.encode(&b, 0)
	return b[:]
}

// send has the guest send a frame on a pair.
func (g *guest) send(pair int, h Header, frame []byte) {
	g.tx[pair].Add(g.piece(encoded(h)), g.piece(frame))
}

// post gives the device receive buffers of n bytes, in two pieces each.
func (g *guest) post(count, n int) {
	for range count {
		bufs := []frontend.Buf{{Off: g.mem.Alloc(n / 2), Len: n / 2, Write: true}, {Off: g.mem.Alloc(n - n/2), Len: n - n/2, Write: true}}
		g.posted[g.rx[0].Add(bufs...)] = bufs
	}
}

// receive returns the next frame, merged, as the guest sees it.
func (g *guest) receive(t *testing.T) (h Header, frame []byte, buffers int) {
	t.Helper()
	var all []byte
	for left := 1; left > 0; left-- {
		id, n, ok := g.rx[0].Take()
		if !ok {
			t.Fatalf("no buffer %d", buffers)
		}
		var b []byte
		for _, p := range g.posted[id] {
			b = append(b, g.mem.Mem[p.Off:][:p.Len]...)
		}
		all = append(all, b[:n]...)
		if buffers == 0 {
			left = int(all[10]) | int(all[11])<<8
		}
		buffers++
	}
	h.decode(all)
	return h, all[headerSize:], buffers
}

func frames(n, room int) []Frame {
	f := make([]Frame, n)
	for i := range f {
		f[i].Data = make([]byte, 0, room)
	}
	return f
}

func pattern(n, seed int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + seed)
	}
	return b
}

func (g *guest) take(t *testing.T, pair, room int) []Frame {
	t.Helper()
	f := frames(8, room)
	n, err := g.port.Take(pair, f)
	if err != nil {
		t.Fatal(err)
	}
	return f[:n]
}

// everyRing calls fn with the features of each kind of ring.
func everyRing(t *testing.T, fn func(t *testing.T, ring uint64)) {
	t.Run("split", func(t *testing.T) { fn(t, 0) })
	t.Run("split in order", func(t *testing.T) { fn(t, virtq.FeatureInOrder) })
	t.Run("packed", func(t *testing.T) { fn(t, virtq.FeaturePacked) })
	t.Run("packed in order", func(t *testing.T) { fn(t, virtq.FeaturePacked|virtq.FeatureInOrder) })
}

// TestThrough takes frames of all lengths from a guest and gives them back, offloads and all.
func TestThrough(t *testing.T) {
	everyRing(t, func(t *testing.T, ring uint64) {
		g := newGuest(t, 1, testOffload|ring)
		for i, n := range []int{14, 60, 64, 65, 1514, 9014, MaxFrame} {
			h := Header{}
			if n > 64 {
				h = Header{NeedsCsum, GSOTCPv4, 54, 1448, 34, 16}
			}
			g.send(0, h, pattern(n, i))
			f := g.take(t, 0, MaxFrame)
			if len(f) != 1 || f[0].Header != h || !bytes.Equal(f[0].Data, pattern(n, i)) {
				t.Fatalf("%d bytes: %d frames", n, len(f))
			}
			if _, _, ok := g.tx[0].Take(); !ok {
				t.Error("the guest does not get its buffer back")
			}
			g.post(1+n/4000, 4096)
			if g.port.Put(0, f) != 1 {
				t.Fatalf("%d bytes: not taken", n)
			}
			got, frame, buffers := g.receive(t)
			if got != h || !bytes.Equal(frame, pattern(n, i)) || buffers != (n+headerSize+4095)/4096 {
				t.Errorf("%d bytes: %+v, %d bytes in %d buffers", n, got, len(frame), buffers)
			}
		}
		want := Stats{FromFrames: 7, ToFrames: 7}
		s := g.port.Stats()
		if s.FromBytes != s.ToBytes || s.FromBytes == 0 {
			t.Errorf("%+v", s)
		}
		if s.FromBytes, s.ToBytes = 0, 0; s != want {
			t.Errorf("%+v, want %+v", s, want)
		}
	})
}

// TestCVE_2022_2132: headers in any shape, and buffers too short for one.
func TestCVE_2022_2132(t *testing.T) {
	everyRing(t, func(t *testing.T, ring uint64) {
		g := newGuest(t, 1, testOffload|ring)
		h := Header{NeedsCsum, GSONone, 0, 0, 34, 16}
		whole := append(encoded(h), pattern(60, 0)...)
		for _, cuts := range [][]int{{}, {1}, {11}, {12}, {13}, {5, 9}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, {0, 12, 12}} {
			var bufs []frontend.Buf
			last := 0
			for _, c := range append(cuts, len(whole)) {
				bufs = append(bufs, g.piece(whole[last:c]))
				last = c
			}
			g.tx[0].Add(bufs...)
			if f := g.take(t, 0, 1600); len(f) != 1 || f[0].Header != h || !bytes.Equal(f[0].Data, whole[12:]) {
				t.Errorf("cut at %v: %+v", cuts, f)
			}
			g.tx[0].Take()
		}
		for _, n := range []int{0, 1, 11, 12, 25} { // one more is an Ethernet header
			g.tx[0].Add(g.piece(append(encoded(Header{}), whole[12:]...)[:n]))
		}
		g.tx[0].Add(frontend.Buf{Off: 0x100, Len: 100, Write: true})
		if f := g.take(t, 0, 1600); len(f) != 0 || g.port.Stats().FromBad != 6 {
			t.Errorf("%d frames, %+v", len(f), g.port.Stats())
		}
	})
}

// TestDropsFromGuest: what is dropped does not hold up what follows, and its buffer goes back.
func TestDropsFromGuest(t *testing.T) {
	g := newGuest(t, 1, testOffload)
	g.send(0, Header{NeedsCsum, 0, 0, 0, 100, 0}, pattern(60, 0)) // CVE-2024-11614
	g.send(0, Header{}, pattern(200, 0))
	g.send(0, Header{}, pattern(60, 1))
	f := g.take(t, 0, 100)
	if len(f) != 1 || !bytes.Equal(f[0].Data, pattern(60, 1)) {
		t.Errorf("%d frames", len(f))
	}
	if s := g.port.Stats(); s.FromBad != 1 || s.FromLong != 1 || s.FromFrames != 1 {
		t.Errorf("%+v", s)
	}
	for range 3 {
		if _, _, ok := g.tx[0].Take(); !ok {
			t.Error("a buffer is missing")
		}
	}
}

// TestFull: frames that do not fit are dropped, and leave the buffers to those that do.
func TestFull(t *testing.T) {
	everyRing(t, func(t *testing.T, ring uint64) {
		g := newGuest(t, 1, testOffload|ring)
		g.post(3, 1000)
		n := g.port.Put(0, []Frame{{Data: pattern(2000, 0)}, {Data: pattern(2000, 1)}, {Data: pattern(900, 2)}, {Data: pattern(60, 3)}})
		if _, frame, buffers := g.receive(t); n != 1 || !bytes.Equal(frame, pattern(2000, 0)) || buffers != 3 {
			t.Errorf("%d put, %d bytes in %d buffers", n, len(frame), buffers)
		}
		g.post(2, 1000)
		if n := g.port.Put(0, []Frame{{Data: pattern(2000, 0)}, {Data: pattern(900, 2)}, {Data: pattern(60, 3)}}); n != 2 {
			t.Errorf("%d put", n)
		}
		for i, want := range [][]byte{pattern(900, 2), pattern(60, 3)} {
			if _, frame, _ := g.receive(t); !bytes.Equal(frame, want) {
				t.Errorf("frame %d: %d bytes", i, len(frame))
			}
		}
		if s := g.port.Stats(); s.ToFull != 4 || s.ToFrames != 3 {
			t.Errorf("%+v", s)
		}
	})
}

// TestNoMerge: without MRG_RXBUF a frame needs one buffer, and the header says so.
func TestNoMerge(t *testing.T) {
	g := newGuest(t, 1, 0)
	g.post(1, 4)
	g.post(1, 100)
	g.post(1, 1600)
	if n := g.port.Put(0, []Frame{{Data: pattern(1514, 0)}, {Data: pattern(88, 1)}, {Data: pattern(1514, 2)}}); n != 2 {
		t.Errorf("%d put", n)
	}
	if _, n, ok := g.rx[0].Take(); !ok || n != 0 {
		t.Errorf("short buffer: %d, %v", n, ok)
	}
	for i, want := range [][]byte{pattern(88, 1), pattern(1514, 2)} {
		if _, frame, buffers := g.receive(t); !bytes.Equal(frame, want) || buffers != 1 {
			t.Errorf("frame %d: %d bytes in %d buffers", i, len(frame), buffers)
		}
	}
	if s := g.port.Stats(); s.ToShort != 1 || s.ToFull != 1 {
		t.Errorf("%+v", s)
	}
}

func TestOffloadNotAccepted(t *testing.T) {
	g := newGuest(t, 1, featureMrgRxbuf)
	g.post(4, 2000)
	h := Header{NeedsCsum, GSONone, 0, 0, 34, 16}
	if g.port.Accepts(0, h) || !g.port.Accepts(0, Header{}) {
		t.Error("accepts the wrong thing")
	}
	if n := g.port.Put(0, []Frame{{Header: h, Data: pattern(60, 0)}, {Data: pattern(60, 1)}, {Data: pattern(MaxFrame+1, 0)}}); n != 1 {
		t.Errorf("%d put", n)
	}
	if s := g.port.Stats(); s.ToOffload != 2 || s.ToFrames != 1 {
		t.Errorf("%+v", s)
	}
}

// TestPairs: each pair is on its own, goes down and comes up.
func TestPairs(t *testing.T) {
	g := newGuest(t, 2, testOffload|featureMQ)
	g.send(1, Header{}, pattern(60, 1))
	if n, _ := g.port.Take(0, frames(1, 100)); n != 0 {
		t.Error("frame on the wrong pair")
	}
	if f := g.take(t, 1, 100); len(f) != 1 {
		t.Error("no frame")
	}
	if g.port.Arm(1) {
		t.Error("more frames")
	}
	g.send(1, Header{}, pattern(60, 1))
	if !g.port.Arm(1) {
		t.Error("no more frames")
	}
	base := g.Stop(3)
	if _, err := g.port.Take(1, frames(1, 100)); err != ErrDown {
		t.Errorf("stopped: %v", err)
	}
	if g.port.Arm(1) {
		t.Error("a stopped ring has frames")
	}
	g.Stop(2)
	if g.port.Put(1, []Frame{{Data: pattern(60, 0)}}) != 0 || g.port.Stats().ToDown != 1 || g.port.Accepts(1, Header{}) {
		t.Error("a stopped ring takes frames")
	}
	g.Start(3, g.tx[1], base)
	if f := g.take(t, 1, 100); len(f) != 1 {
		t.Error("the frame of before is lost")
	}
	_ = g.Close()
	want := "[up 0 true up 1 true down 1 up 1 true down 0 down 1]"
	for limit := time.Now().Add(5 * time.Second); g.events.String() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("events %v, want %s", g.events, want)
		}
	}
}

// TestBrokenRing: a guest that breaks its ring is down.
func TestBrokenRing(t *testing.T) {
	g := newGuest(t, 1, testOffload)
	g.tx[0].Add(frontend.Buf{Off: 5 << 20, Len: 60})
	for range 2 {
		if n, err := g.port.Take(0, frames(1, 100)); n != 0 || err != ErrDown {
			t.Errorf("%d, %v", n, err)
		}
	}
	g.rx[0].Add(frontend.Buf{Off: 5 << 20, Len: 60, Write: true})
	if g.port.Put(0, []Frame{{Data: pattern(60, 0)}}) != 0 || g.port.Stats().ToDown != 1 {
		t.Errorf("%+v", g.port.Stats())
	}
}

func TestNewRefuses(t *testing.T) {
	for _, n := range []int{0, -1, MaxPairs + 1} {
		if _, err := New(n, &record{}); err == nil {
			t.Errorf("%d pairs", n)
		}
	}
}

// TestNoAllocations counts what a batch allocates, once the port has seen one.
func TestNoAllocations(t *testing.T) {
	everyRing(t, func(t *testing.T, ring uint64) {
		g := newGuest(t, 1, testOffload|ring)
		for range testSize / 2 {
			g.send(0, Header{}, pattern(1514, 0))
		}
		g.post(testSize/2, 1000)
		f, done := frames(2, 2048), 0
		allocs := testing.AllocsPerRun(testSize/4/2-1, func() {
			n, _ := g.port.Take(0, f)
			done += g.port.Put(0, f[:n])
			g.port.Arm(0)
		})
		if allocs != 0 || done != testSize/4 {
			t.Errorf("%v allocations, %d frames", allocs, done)
		}
	})
}

// BenchmarkPort is a frame from the guest and back to it, 32 at a time, with the driver's work, which is what allocates.
func BenchmarkPort(b *testing.B) {
	for _, packed := range []uint64{0, virtq.FeaturePacked} {
		for _, n := range []int{60, 1514} {
			name := map[uint64]string{0: "split", virtq.FeaturePacked: "packed"}[packed]
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) { benchPort(b, packed, n) })
		}
	}
}

func benchPort(b *testing.B, ring uint64, n int) {
	g := newGuest(b, 1, testOffload|ring)
	out := make([]frontend.Buf, 32)
	in := make([]frontend.Buf, 32)
	for i := range out {
		out[i] = g.piece(append(encoded(Header{}), pattern(n, i)...))
		in[i] = frontend.Buf{Off: g.mem.Alloc(2112), Len: 2048, Write: true}
	}
	f := frames(32, 2048)
	for b.Loop() {
		for i := range out {
			g.tx[0].Add(out[i])
			g.rx[0].Add(in[i])
		}
		if k, err := g.port.Take(0, f); k != 32 || err != nil || g.port.Put(0, f) != 32 {
			b.Fatal(k, err)
		}
		for range out {
			g.tx[0].Take()
			g.rx[0].Take()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/32, "ns/frame")
}
