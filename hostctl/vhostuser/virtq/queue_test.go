package virtq

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"picolab/hostctl/vhostuser/guestmem"
	"picolab/hostctl/vhostuser/internal/frontend"
	"picolab/hostctl/vhostuser/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// setup is a ring with both its ends.
type setup struct {
	mem  *frontend.Memory
	ring *frontend.Ring
	q    Queue
	gm   *guestmem.Memory
}

const memorySize = 1 << 20

func newSetup(t testing.TB, size int, features uint64) *setup {
	t.Helper()
	return newSizedSetup(t, size, features, memorySize)
}

func newSizedSetup(t testing.TB, size int, features uint64, bytes int) *setup {
	t.Helper()
	s := &setup{mem: frontend.NewMemory(t, bytes), gm: guestmem.New()}
	t.Cleanup(s.gm.Close)
	share(t, s.gm, s.mem)
	s.ring = frontend.NewRing(s.mem, size, features&FeatureEventIdx != 0)
	s.ring.InOrder = features&FeatureInOrder != 0
	var err error
	if s.q, err = New(s.config(features)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.q.Close() })
	return s
}

// share maps the memory in two regions that adjoin, cut at the middle.
func share(t testing.TB, gm *guestmem.Memory, m *frontend.Memory) {
	t.Helper()
	half := uint64(len(m.Mem) / 2)
	a := guestmem.Region{GuestAddr: m.GPA, Size: half, UserAddr: m.UVA}
	b := guestmem.Region{GuestAddr: m.GPA + half, Size: half, UserAddr: m.UVA + half, Offset: half}
	if err := gm.Replace([]guestmem.Region{a, b}, []int{m.FD, m.FD}); err != nil {
		t.Fatal(err)
	}
}

func (s *setup) config(features uint64) Config {
	user := func(off int) uint64 { return s.mem.UVA + uint64(off) }
	return Config{Size: s.ring.Size, Features: features, Memory: s.gm,
		Desc: user(s.ring.Desc), Avail: user(s.ring.Avail), Used: user(s.ring.Used)}
}

// bytesAt allocates a piece that holds text.
func (s *setup) text(text string) frontend.Buf {
	off := s.mem.Alloc(len(text))
	copy(s.mem.Mem[off:], text)
	return frontend.Buf{Off: off, Len: len(text)}
}

func (s *setup) space(n int) frontend.Buf {
	return frontend.Buf{Off: s.mem.Alloc(n), Len: n, Write: true}
}

func (s *setup) pop(t *testing.T) *Chain {
	t.Helper()
	c := &Chain{}
	if ok, err := s.q.Pop(c); !ok || err != nil {
		t.Fatalf("pop: %v, %v", ok, err)
	}
	return c
}

func readAll(c *Chain) string {
	b := make([]byte, c.Readable())
	return string(b[:c.Read(b)])
}

const allFeatures = FeatureVersion1 | FeatureIndirect | FeatureEventIdx

func TestStream(t *testing.T) {
	s := newSetup(t, 8, allFeatures)
	out1, out2 := s.space(3), s.space(10)
	s.ring.Add(s.text("pico"), s.text(""), s.text("lab"), out1, out2)
	c := s.pop(t)
	if c.Readable() != 7 || c.Writable() != 13 {
		t.Fatalf("%d readable, %d writable", c.Readable(), c.Writable())
	}
	if segs := c.ReadSegments(nil, 2, 4); string(bytes.Join(segs, nil)) != "cola" || len(segs) != 2 {
		t.Errorf("segments %q", segs)
	}
	if segs := c.WriteSegments(nil, 2, 100); len(bytes.Join(segs, nil)) != 11 || len(segs) != 2 {
		t.Errorf("segments %q", segs)
	}
	if got := readAll(c); got != "picolab" {
		t.Errorf("read %q", got)
	}
	if n := c.Read(make([]byte, 4)); n != 0 {
		t.Errorf("read %d bytes after the end", n)
	}
	if n := c.Write([]byte("0123456789abcdef")); n != 13 {
		t.Errorf("wrote %d", n)
	}
	s.q.Push(c, 13)
	if _, _, ok := s.ring.Take(); ok {
		t.Error("used before the flush")
	}
	if !s.q.Flush() {
		t.Error("the first flush must call")
	}
	if _, n, ok := s.ring.Take(); !ok || n != 13 {
		t.Errorf("used %d, %v", n, ok)
	}
	got := string(s.mem.Mem[out1.Off:][:3]) + string(s.mem.Mem[out2.Off:][:10])
	if got != "0123456789abc" {
		t.Errorf("the driver sees %q", got)
	}
}

// TestIndirect puts the whole, or the end, of a chain in a table, also one that spans two regions.
func TestIndirect(t *testing.T) {
	for _, crossing := range []bool{false, true} {
		s := newSetup(t, 8, allFeatures)
		table := s.mem.Alloc(16 * 3)
		if crossing {
			table = memorySize/2 - 16
		}
		a, b, w := s.text("in"), s.text("direct"), s.space(5)
		put := func(i int, p frontend.Buf, flags, next uint16) {
			s.ring.PutDesc(table, i, s.mem.GPA+uint64(p.Off), uint32(p.Len), flags, next)
		}
		put(0, a, frontend.Next, 2)
		put(2, b, frontend.Next, 1)
		put(1, w, frontend.Write, 0)
		first := s.text("more ")
		s.ring.PutDesc(s.ring.Desc, 3, s.mem.GPA+uint64(first.Off), uint32(first.Len), frontend.Next, 4)
		s.ring.PutDesc(s.ring.Desc, 4, s.mem.GPA+uint64(table), 16*3, frontend.Indirect, 0)
		s.ring.Offer(4)
		s.ring.Offer(3)
		if c := s.pop(t); readAll(c) != "indirect" || c.Writable() != 5 {
			t.Errorf("crossing %v: %+v", crossing, c)
		}
		if c := s.pop(t); readAll(c) != "more indirect" || c.Writable() != 5 {
			t.Errorf("crossing %v, with a direct part: %+v", crossing, c)
		}
	}
}

func TestLongestChain(t *testing.T) {
	s := newSetup(t, 8, allFeatures)
	var bufs []frontend.Buf
	for range 8 {
		bufs = append(bufs, s.text("x"))
	}
	s.ring.Add(bufs...)
	if c := s.pop(t); c.Readable() != 8 {
		t.Errorf("%d readable", c.Readable())
	}
}

func TestSplitAtRegions(t *testing.T) {
	s := newSetup(t, 8, allFeatures)
	s.ring.Add(frontend.Buf{Off: memorySize/2 - 10, Len: 20, Write: true})
	c := s.pop(t)
	c.Write([]byte("0123456789ABCDEFGHIJ"))
	if got := string(s.mem.Mem[memorySize/2-10:][:20]); got != "0123456789ABCDEFGHIJ" {
		t.Errorf("%q", got)
	}
}

// TestAbort takes three, gives back two, and takes them again.
func TestAbort(t *testing.T) {
	s := newSetup(t, 4, allFeatures)
	for _, w := range []string{"a", "b", "c"} {
		s.ring.Add(s.text(w))
	}
	first := s.pop(t)
	s.pop(t)
	s.pop(t)
	s.q.Push(first, 0)
	s.q.Abort()
	s.q.Flush()
	if s.q.Base() != 1 {
		t.Errorf("base %d", s.q.Base())
	}
	for _, want := range []string{"b", "c"} {
		c := s.pop(t)
		if got := readAll(c); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		s.q.Push(c, 0)
	}
	s.q.Flush()
	if s.ring.PublishedUsed() != 3 || s.q.Base() != 3 {
		t.Errorf("used %d, base %d", s.ring.PublishedUsed(), s.q.Base())
	}
}

// TestWrap runs the indices around 2^16 with random batch sizes, and checks every buffer.
func TestWrap(t *testing.T) {
	for _, features := range []uint64{FeatureVersion1, allFeatures, allFeatures | FeatureInOrder} {
		s := newSetup(t, 16, features)
		chains := make([]Chain, 16)
		buf := s.text("number    ")
		for sent := 0; sent < 70000; {
			n := 1 + sent%16
			for i := range n {
				copy(s.mem.Mem[buf.Off:], fmt.Sprintf("number %3d", n))
				s.ring.Add(frontend.Buf{Off: buf.Off, Len: buf.Len - i%3})
			}
			if k, err := s.q.PopBatch(chains); k != n || err != nil {
				t.Fatal(k, err)
			}
			for i := range n {
				if want := fmt.Sprintf("number %3d", n)[:buf.Len-i%3]; readAll(&chains[i]) != want {
					t.Fatalf("chain %d of %d", i, n)
				}
			}
			s.q.PushBatch(chains[:n])
			s.q.Flush()
			for range n {
				if _, _, ok := s.ring.Take(); !ok {
					t.Fatal("missing in the used ring")
				}
			}
			sent += n
		}
		if ok, _ := s.q.Pop(&chains[0]); ok {
			t.Error("popped from an empty ring")
		}
	}
}

// TestBatch: with IN_ORDER, one entry tells of a batch that is only to be read.
func TestBatch(t *testing.T) {
	for _, inOrder := range []bool{false, true} {
		features := uint64(allFeatures)
		if inOrder {
			features |= FeatureInOrder
		}
		s := newSetup(t, 8, features)
		chains := make([]Chain, 5)
		for range 3 {
			s.ring.Add(s.text("in"))
		}
		s.ring.Add(s.space(10))
		s.ring.Add(s.text("in"))
		entries := s.mem.Mem[s.ring.Used+usedRing:][:5*usedEntry]
		for i := range entries {
			entries[i] = 0xee
		}
		if n, err := s.q.PopBatch(chains); n != 5 || err != nil {
			t.Fatal(n, err)
		}
		chains[3].Write([]byte("answer"))
		s.q.PushBatch(chains[:3])
		s.q.PushBatch(chains[3:]) // one of them has room
		s.q.Flush()
		written := ""
		for i := 0; i < len(entries); i += usedEntry {
			written += map[bool]string{true: "-", false: "w"}[entries[i+4] == 0xee]
		}
		if want := map[bool]string{false: "wwwww", true: "w--ww"}[inOrder]; written != want {
			t.Errorf("in order %v: entries written: %s, want %s", inOrder, written, want)
		}
		for i, want := range []int{0, 0, 0, 6, 0} {
			if _, n, ok := s.ring.Take(); !ok || n != want {
				t.Errorf("in order %v: buffer %d: %v, %d bytes, want %d", inOrder, i, ok, n, want)
			}
		}
	}
}

func (s *setup) useOne(t *testing.T) (called bool) {
	t.Helper()
	s.ring.Add(s.space(1))
	s.q.Push(s.pop(t), 1)
	return s.q.Flush()
}

func TestCallsEventIdx(t *testing.T) {
	s := newSetup(t, 8, allFeatures)
	s.useOne(t) // the first one calls whatever the event says
	tests := []struct {
		event uint16
		want  bool
	}{{1, true}, {1, false}, {3, true}, {9, false}, {5, true}}
	for i, tt := range tests {
		s.ring.SetUsedEvent(tt.event)
		if got := s.useOne(t); got != tt.want {
			t.Errorf("step %d: used %d, event %d: call %v", i, s.ring.PublishedUsed(), tt.event, got)
		}
		s.takeAll()
	}
	if s.q.Flush() {
		t.Error("a flush of nothing calls")
	}
}

// takeAll frees the descriptors without touching used_event.
func (s *setup) takeAll() {
	off := s.ring.Avail + 4 + 2*s.ring.Size
	event := bytes.Clone(s.mem.Mem[off : off+2])
	for _, _, ok := s.ring.Take(); ok; _, _, ok = s.ring.Take() {
	}
	copy(s.mem.Mem[off:], event)
}

func TestCallsFlags(t *testing.T) {
	s := newSetup(t, 8, FeatureVersion1)
	s.useOne(t)
	if !s.useOne(t) {
		t.Error("no call without the flag")
	}
	s.mem.Mem[s.ring.Avail] = 1 // VIRTQ_AVAIL_F_NO_INTERRUPT
	if s.useOne(t) {
		t.Error("a call in spite of the flag")
	}
}

// TestKicksEventIdx: forgetting to publish avail_event once stalled a stream after its first packet.
func TestKicksEventIdx(t *testing.T) {
	s := newSetup(t, 8, allFeatures)
	for i := range 3 {
		s.useOne(t)
		s.takeAll()
		if s.q.EnableKick() {
			t.Error("available in an empty ring")
		}
		if got := s.ring.AvailEvent(); got != uint16(i+1) {
			t.Errorf("avail_event %d, want %d", got, i+1)
		}
	}
	s.ring.Add(s.space(1))
	if !s.q.EnableKick() {
		t.Error("an entry added before EnableKick is lost")
	}
}

func TestKicksFlags(t *testing.T) {
	s := newSetup(t, 8, FeatureVersion1)
	s.q.DisableKick()
	if !s.ring.NoNotify() {
		t.Error("flag is not set")
	}
	s.useOne(t)
	if s.ring.PublishedUsed() != 1 || !s.ring.NoNotify() {
		t.Error("flag and index disturb each other")
	}
	if s.q.EnableKick() || s.ring.NoNotify() {
		t.Error("flag is not cleared")
	}
}

// TestStartsWhereMemorySays: the used index counts at the start, the base is the front-end's.
func TestStartsWhereMemorySays(t *testing.T) {
	s := newSetup(t, 4, allFeatures)
	for range 3 {
		s.useOne(t)
		s.takeAll()
	}
	s.q.Close()
	cfg := s.config(allFeatures)
	cfg.Base = s.q.Base()
	q, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.q = q
	s.useOne(t)
	if s.ring.PublishedUsed() != 4 || q.Base() != 4 {
		t.Errorf("used %d, base %d; want 4", s.ring.PublishedUsed(), q.Base())
	}
}

func TestRemap(t *testing.T) {
	s := newSetup(t, 4, allFeatures)
	s.useOne(t)
	share(t, s.gm, s.mem)
	if err := s.q.Remap(); err != nil {
		t.Fatal(err)
	}
	s.useOne(t)
	if s.ring.PublishedUsed() != 2 {
		t.Errorf("used %d", s.ring.PublishedUsed())
	}
	if err := s.gm.Replace(nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.q.Remap(); !errors.Is(err, guestmem.ErrRange) {
		t.Errorf("remap to nothing: %v", err)
	}
}

func TestBadConfig(t *testing.T) {
	s := newSetup(t, 8, allFeatures)
	tests := map[string]func(*Config){
		"size 0":                func(c *Config) { c.Size = 0 },
		"negative size":         func(c *Config) { c.Size = -8 },
		"not a power of two":    func(c *Config) { c.Size = 24 },
		"too large":             func(c *Config) { c.Size = 1 << 16 },
		"descriptors outside":   func(c *Config) { c.Desc = 0 },
		"avail outside":         func(c *Config) { c.Avail = s.mem.UVA + memorySize - 2 },
		"used outside":          func(c *Config) { c.Used = ^uint64(0) - 3 },
		"used across regions":   func(c *Config) { c.Used = s.mem.UVA + memorySize/2 - 8 },
		"descriptors misplace":  func(c *Config) { c.Desc += 8 },
		"avail misplaced":       func(c *Config) { c.Avail++ },
		"used misplaced":        func(c *Config) { c.Used += 2 },
		"base of a packed ring": func(c *Config) { c.Base = PackedBase },
	}
	for name, change := range tests {
		cfg := s.config(allFeatures)
		change(&cfg)
		if q, err := New(cfg); err == nil {
			q.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestNoAllocations counts what the hot path allocates: nothing, also with indirect tables and long chains.
func TestNoAllocations(t *testing.T) {
	s := newSetup(t, 64, allFeatures)
	table := s.mem.Alloc(16 * 2)
	in, out := s.text("0123456789abcdef"), s.space(64)
	s.ring.PutDesc(table, 0, s.mem.GPA+uint64(in.Off), 16, frontend.Next, 1)
	s.ring.PutDesc(table, 1, s.mem.GPA+uint64(out.Off), 64, frontend.Write, 0)
	for i := range 64 {
		s.ring.PutDesc(s.ring.Desc, i, s.mem.GPA+uint64(table), 32, frontend.Indirect, 0)
	}
	chains := make([]Chain, 32)
	var b [64]byte
	round := func() {
		for i := range chains {
			s.ring.Offer(uint16(i))
		}
		for i := range chains {
			if ok, err := s.q.Pop(&chains[i]); !ok || err != nil {
				t.Fatal(ok, err)
			}
			chains[i].Read(b[:16])
			chains[i].Write(b[:])
		}
		for i := range chains {
			s.q.Push(&chains[i], 64)
		}
		s.q.Flush()
		s.q.EnableKick()
	}
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations for 32 buffers", n)
	}
}
