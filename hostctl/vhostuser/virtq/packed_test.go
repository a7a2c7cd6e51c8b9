package virtq

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"picolab/hostctl/vhostuser/guestmem"
	"picolab/hostctl/vhostuser/internal/frontend"
)

// packedSetup is a packed ring with both its ends.
type packedSetup struct {
	setup
	ring *frontend.Packed
}

const packedFeatures = allFeatures | FeaturePacked

func newPackedSetup(t testing.TB, size int, features uint64) *packedSetup {
	t.Helper()
	return newSizedPackedSetup(t, size, features, memorySize)
}

func newSizedPackedSetup(t testing.TB, size int, features uint64, bytes int) *packedSetup {
	t.Helper()
	s := &packedSetup{setup: setup{mem: frontend.NewMemory(t, bytes), gm: guestmem.New()}}
	t.Cleanup(s.gm.Close)
	share(t, s.gm, s.mem)
	s.ring = frontend.NewPacked(s.mem, size)
	s.ring.InOrder = features&FeatureInOrder != 0
	s.start(t, features, PackedBase)
	t.Cleanup(func() { s.q.Close() })
	return s
}

func (s *packedSetup) config(features uint64) Config {
	user := func(off int) uint64 { return s.mem.UVA + uint64(off) }
	return Config{Size: s.ring.Size, Features: features | FeaturePacked, Memory: s.gm, Base: PackedBase,
		Desc: user(s.ring.Desc), Avail: user(s.ring.Driver), Used: user(s.ring.Device)}
}

// start puts a new queue on the ring.
func (s *packedSetup) start(t testing.TB, features uint64, base uint32) {
	t.Helper()
	cfg := s.config(features)
	cfg.Base = base
	q, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if s.q != nil {
		s.q.Close()
	}
	s.q = q
}

// useOne has a buffer of n entries used and taken back.
func (s *packedSetup) useOne(t testing.TB, n int) (called bool) {
	t.Helper()
	s.ring.Add(slices.Repeat([]frontend.Buf{{Off: 0x8000, Len: 1, Write: true}}, n)...)
	var c Chain
	if ok, err := s.q.Pop(&c); !ok || err != nil {
		t.Fatal(ok, err)
	}
	s.q.Push(&c, 1)
	called = s.q.Flush()
	if _, _, ok := s.ring.Take(); !ok {
		t.Fatal("not used")
	}
	return called
}

func TestPackedStream(t *testing.T) {
	s := newPackedSetup(t, 8, packedFeatures)
	out1, out2 := s.space(3), s.space(10)
	id := s.ring.Add(s.text("pico"), s.text(""), s.text("lab"), out1, out2)
	c := s.pop(t)
	if c.Writable() != 13 || readAll(c) != "picolab" {
		t.Errorf("%+v", c)
	}
	if n := c.Write([]byte("0123456789abcdef")); n != 13 {
		t.Errorf("wrote %d", n)
	}
	s.q.Push(c, 13)
	if _, _, ok := s.ring.Take(); ok {
		t.Error("used before the flush")
	}
	if s.q.Base() != 0x80008005 {
		t.Errorf("base %#x before the flush", s.q.Base())
	}
	if !s.q.Flush() {
		t.Error("the first flush must call")
	}
	if got, n, ok := s.ring.Take(); !ok || n != 13 || got != id {
		t.Errorf("used %d, %d bytes, %v", got, n, ok)
	}
	if s.q.Base() != 0x80058005 || s.q.Base() != s.ring.Base() {
		t.Errorf("base %#x", s.q.Base())
	}
}

func TestPackedIndirect(t *testing.T) {
	for _, table := range []int{0x4000, memorySize/2 - 16} { // the second spans two regions
		s := newPackedSetup(t, 4, packedFeatures)
		s.mem.Alloc(0x8000)
		id := s.ring.AddIndirect(table, s.text("in"), s.text("direct"), s.space(5))
		s.ring.Add(s.text("direct"))
		c := s.pop(t)
		if readAll(c) != "indirect" || c.Writable() != 5 {
			t.Errorf("table at %#x: %+v", table, c)
		}
		s.q.Push(c, 0)
		if c = s.pop(t); readAll(c) != "direct" {
			t.Errorf("table at %#x: next: %+v", table, c)
		}
		s.q.Push(c, 0)
		s.q.Flush()
		if got, _, ok := s.ring.Take(); !ok || got != id {
			t.Errorf("used %d, %v", got, ok)
		}
		if _, _, ok := s.ring.Take(); !ok {
			t.Error("second one is not used")
		}
	}
}

// TestPackedBatch: with IN_ORDER, one descriptor tells of a batch that is only to be read.
func TestPackedBatch(t *testing.T) {
	for _, features := range []uint64{packedFeatures, packedFeatures | FeatureInOrder} {
		s := newPackedSetup(t, 8, features)
		chains := make([]Chain, 4)
		for range 3 {
			s.ring.Add(s.text("in two "), s.text("pieces"))
		}
		before := bytes.Clone(s.mem.Mem[s.ring.Desc:][:descSize*6])
		if n, err := s.q.PopBatch(chains); n != 3 || err != nil {
			t.Fatal(n, err)
		}
		s.q.PushBatch(chains[:3])
		s.q.Flush()
		changed := 0
		for i := 0; i < len(before); i += descSize {
			if !bytes.Equal(before[i:][:descSize], s.mem.Mem[s.ring.Desc+i:][:descSize]) {
				changed++
			}
		}
		if want := map[bool]int{false: 3, true: 1}[s.ring.InOrder]; changed != want {
			t.Errorf("in order %v: %d descriptors written, want %d", s.ring.InOrder, changed, want)
		}
		for i := range 3 {
			if _, n, ok := s.ring.Take(); !ok || n != 0 {
				t.Errorf("in order %v: buffer %d: %v, %d bytes", s.ring.InOrder, i, ok, n)
			}
		}
		if s.q.Base() != s.ring.Base() {
			t.Errorf("base %#x, the driver's %#x", s.q.Base(), s.ring.Base())
		}
	}
}

// TestPackedModel has a driver make buffers of any shape and a device take them in batches and use them in any order, with
// restarts in between, in rings of all small sizes. Every buffer must come through once, with its content and its answer.
func TestPackedModel(t *testing.T) {
	for size := 1; size <= 64; size *= 2 {
		for _, features := range []uint64{FeatureVersion1 | FeaturePacked, packedFeatures, packedFeatures | FeatureInOrder} {
			t.Run(fmt.Sprintf("size %d features %#x", size, features), func(t *testing.T) { packedModel(t, size, features) })
		}
	}
}

// model is what driver and device remember of the buffers.
type model struct {
	*packedSetup
	rnd    *rand.Rand
	step   int
	popped []*Chain
	text   map[uint16]string // by id
	kick   bool              // the device was told to wait for one
	done   int
}

const modelPage = 4096 // bytes for each id: text, table at 1024, answer at 2048

func packedModel(t *testing.T, size int, features uint64) {
	m := &model{packedSetup: newPackedSetup(t, size, features), rnd: rand.New(rand.NewPCG(uint64(size), features)),
		text: map[uint16]string{}}
	for m.step = range 4000 {
		switch m.rnd.IntN(8) {
		case 0, 1, 2:
			m.add(t, features)
		case 3, 4:
			m.pop(t)
		case 5:
			m.push()
		case 6:
			m.q.Flush()
			m.takeAll(t)
		case 7:
			m.push()
			m.q.Flush()
			m.takeAll(t)
			m.start(t, features, m.q.Base())
		}
	}
	m.push()
	m.q.Flush()
	m.takeAll(t)
	for c := (&Chain{}); len(m.text) > 0; {
		if ok, _ := m.q.Pop(c); !ok {
			break
		}
		m.popped = append(m.popped, c)
		m.push()
		m.q.Flush()
		m.takeAll(t)
	}
	if len(m.text) != 0 || m.done < 100 || m.q.Base() != m.ring.Base() || m.q.EnableKick() {
		t.Errorf("%d left, %d done, base %#x, the driver's %#x", len(m.text), m.done, m.q.Base(), m.ring.Base())
	}
}

// add makes a buffer of a text in up to three pieces, and room for the answer in one or two.
func (m *model) add(t *testing.T, features uint64) {
	if len(m.ring.Free) == 0 {
		return
	}
	id := m.ring.Free[len(m.ring.Free)-1]
	page := 0x10000 + modelPage*int(id)
	text := fmt.Sprintf("buffer %d of step %d", id, m.step)
	copy(m.mem.Mem[page:], text)
	a, b := m.rnd.IntN(len(text)+1), m.rnd.IntN(len(text)+1)
	a, b = min(a, b), max(a, b)
	bufs := []frontend.Buf{{Off: page, Len: a}, {Off: page + a, Len: b - a}, {Off: page + b, Len: len(text) - b},
		{Off: page + 2048, Len: 8, Write: true}, {Off: page + 2056, Len: 40, Write: true}}
	if m.rnd.IntN(2) == 0 {
		bufs = []frontend.Buf{{Off: page, Len: len(text)}}
	}
	if mode, at := m.ring.Event(); m.kick && (mode == frontend.EventDisable || mode == frontend.EventPlace && at != m.ring.Avail) {
		t.Fatalf("no kick: mode %d, place %v, buffer at %v", mode, at, m.ring.Avail)
	}
	indirect := features&FeatureIndirect != 0 && m.rnd.IntN(2) == 0
	switch {
	case indirect && m.ring.Room > 0 && len(bufs) <= m.ring.Size:
		m.ring.AddIndirect(page+1024, bufs...)
	case len(bufs) <= m.ring.Room:
		m.ring.Add(bufs...)
	default:
		return
	}
	m.text[id] = text
	m.kick = false
}

// pop takes some buffers and gives the last ones of them back.
func (m *model) pop(t *testing.T) {
	for range 1 + m.rnd.IntN(4) {
		chains := make([]Chain, 1+m.rnd.IntN(3))
		n, err := m.q.PopBatch(chains)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			m.popped = append(m.popped, &chains[i])
		}
		if n == 0 {
			m.kick = !m.q.EnableKick()
			return
		}
		if m.rnd.IntN(4) == 0 {
			m.q.DisableKick()
			m.kick = false
		}
	}
	if m.rnd.IntN(3) == 0 {
		m.q.Abort() // what waits for a kick goes on waiting only if it looks again
		m.popped, m.kick = m.popped[:0], false
	}
}

// push answers what was popped, in any order if that is allowed, with the text in capitals.
func (m *model) push() {
	if !m.ring.InOrder {
		m.rnd.Shuffle(len(m.popped), func(i, j int) { m.popped[i], m.popped[j] = m.popped[j], m.popped[i] })
	}
	var batch []Chain
	for _, c := range m.popped {
		c.Write([]byte(strings.ToUpper(readAll(c))))
		batch = append(batch, *c)
	}
	m.q.PushBatch(batch)
	m.popped = m.popped[:0]
}

func (m *model) takeAll(t *testing.T) {
	for id, n, ok := m.ring.Take(); ok; id, n, ok = m.ring.Take() {
		page := 0x10000 + modelPage*int(id)
		if got, want := string(m.mem.Mem[page+2048:][:n]), strings.ToUpper(m.text[id]); m.text[id] == "" || got != want[:n] {
			t.Fatalf("step %d: buffer %d: %q, want %q", m.step, id, got, want)
		}
		delete(m.text, id)
		m.done++
	}
}

func TestPackedCalls(t *testing.T) {
	s := newPackedSetup(t, 4, packedFeatures)
	s.useOne(t, 1) // the first one calls whatever the event says
	at := func(entry int, wrap bool) frontend.Place { return frontend.Place{Entry: entry, Wrap: wrap} }
	tests := []struct {
		mode uint32
		at   frontend.Place
		n    int // entries to use
		want bool
	}{
		{frontend.EventEnable, at(0, false), 1, true},     // 1 to 2
		{frontend.EventDisable, at(2, true), 1, false},    // to 3
		{frontend.EventPlace, at(3, true), 1, true},       // to 0 of the next lap
		{frontend.EventPlace, at(3, true), 1, false},      // to 1: long past
		{frontend.EventPlace, at(2, false), 2, true},      // to 3: inside the batch
		{frontend.EventPlace, at(0, true), 1, false},      // to 0 of the third lap: the next one
		{frontend.EventPlace, at(0, true), 4, true},       // to 0 of the fourth
		{frontend.EventPlace, at(3, false), 3, false},     // to 3
		{frontend.EventPlace, at(3, false), 2, true},      // to 1: across the end
		{frontend.EventPlace, at(1, false), 2, false},     // to 3: an entry of the lap before
		{frontend.EventPlace, at(0x7fff, true), 1, false}, // no entry at all
		{3, at(0, false), 1, true},                        // reserved
	}
	for i, tt := range tests {
		s.ring.SetEvent(tt.mode, tt.at)
		if got := s.useOne(t, tt.n); got != tt.want {
			t.Errorf("step %d: call %v", i, got)
		}
	}
	if s.q.Flush() {
		t.Error("a flush of nothing calls")
	}
	s = newPackedSetup(t, 4, FeatureVersion1)
	s.useOne(t, 1)
	s.ring.SetEvent(frontend.EventPlace, at(3, true))
	if !s.useOne(t, 1) {
		t.Error("a place counts without EVENT_IDX")
	}
}

func TestPackedKicks(t *testing.T) {
	s := newPackedSetup(t, 4, packedFeatures)
	for i := range 10 {
		s.q.DisableKick()
		if mode, _ := s.ring.Event(); mode != frontend.EventDisable {
			t.Errorf("step %d: mode %d", i, mode)
		}
		s.useOne(t, 1+i%3)
		if s.q.EnableKick() {
			t.Error("available in an empty ring")
		}
		if mode, at := s.ring.Event(); mode != frontend.EventPlace || at != s.ring.Avail {
			t.Errorf("step %d: mode %d, place %v, want %v", i, mode, at, s.ring.Avail)
		}
	}
	s.ring.Add(s.space(1))
	if !s.q.EnableKick() {
		t.Error("an entry added before EnableKick is lost")
	}
	s = newPackedSetup(t, 4, FeatureVersion1)
	s.q.DisableKick()
	s.start(t, FeatureVersion1, s.q.Base())
	if mode, _ := s.ring.Event(); mode != frontend.EventEnable {
		t.Errorf("mode %d after a restart", mode)
	}
}

func TestPackedBase(t *testing.T) {
	tests := []struct {
		base uint32
		want uint32 // 0: refused
	}{
		{PackedBase, PackedBase},
		{0x8000, PackedBase},  // DPDK's
		{0x0003, 0x0003_0003}, // DPDK's
		{0x8003_8003, 0x8003_8003},
		{0x8003_8007, 0x8003_8007}, // four entries in flight
		{0x8003_0003, 0x8003_0003}, // eight
		{0x0003_8002, 0x0003_8002}, // seven, across the end of a lap
		{0x8003_8002, 0},           // used more than was available
		{0x8003_0004, 0},
		{0x8008_8008, 0}, // no such entry
		{0x8000_ffff, 0},
		{0xffff_8000, 0},
	}
	s := newPackedSetup(t, 8, packedFeatures)
	for _, tt := range tests {
		cfg := s.config(packedFeatures)
		cfg.Base = tt.base
		q, err := New(cfg)
		if tt.want == 0 {
			if !errors.Is(err, ErrConfig) {
				t.Errorf("base %#x: %v", tt.base, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("base %#x: %v", tt.base, err)
			continue
		}
		if q.Base() != tt.want {
			t.Errorf("base %#x becomes %#x, want %#x", tt.base, q.Base(), tt.want)
		}
		q.Close()
	}
}

func TestPackedBadConfig(t *testing.T) {
	s := newPackedSetup(t, 8, packedFeatures)
	tests := map[string]func(*Config){
		"size 0":              func(c *Config) { c.Size = 0 },
		"not a power of two":  func(c *Config) { c.Size = 24 },
		"too large":           func(c *Config) { c.Size = 1 << 16 },
		"descriptors outside": func(c *Config) { c.Desc = s.mem.UVA + memorySize - 8*16 + 16 },
		"driver outside":      func(c *Config) { c.Avail = s.mem.UVA + memorySize },
		"device outside":      func(c *Config) { c.Used = ^uint64(0) - 3 },
		"misplaced":           func(c *Config) { c.Desc += 8 },
		"driver misplaced":    func(c *Config) { c.Avail += 2 },
		"device misplaced":    func(c *Config) { c.Used++ },
	}
	for name, change := range tests {
		cfg := s.config(packedFeatures)
		change(&cfg)
		if q, err := New(cfg); err == nil {
			q.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestPackedRemap(t *testing.T) {
	s := newPackedSetup(t, 4, packedFeatures)
	s.useOne(t, 3)
	share(t, s.gm, s.mem)
	if err := s.q.Remap(); err != nil {
		t.Fatal(err)
	}
	s.useOne(t, 3)
	if s.q.Base() != s.ring.Base() {
		t.Errorf("base %#x", s.q.Base())
	}
	if err := s.gm.Replace(nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.q.Remap(); !errors.Is(err, guestmem.ErrRange) {
		t.Errorf("remap to nothing: %v", err)
	}
}

// TestPackedNoAllocations is TestNoAllocations for packed rings, with chains as well as tables.
func TestPackedNoAllocations(t *testing.T) {
	const batch = 16
	s := newPackedSetup(t, 64, packedFeatures)
	table := s.mem.Alloc(32)
	in, out := s.text("0123456789abcdef"), s.space(64)
	copy(s.mem.Mem[table:], entry(s.mem.GPA+uint64(in.Off), 16, 0, 0))
	copy(s.mem.Mem[table+16:], entry(s.mem.GPA+uint64(out.Off), 64, 0, frontend.Write))
	d := driver{Packed: s.ring}
	chains := make([]Chain, batch)
	var b [64]byte
	round := func() {
		for range batch / 2 {
			d.offer(s.mem.GPA+uint64(table), 32, frontend.Indirect)
			d.offer(s.mem.GPA+uint64(in.Off), 16, frontend.Next)
			d.offer(s.mem.GPA+uint64(out.Off), 64, frontend.Write)
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
		t.Errorf("%v allocations for %d buffers", n, batch)
	}
}

// driver adds descriptors without any bookkeeping.
type driver struct {
	*frontend.Packed
	at int
}

func (d *driver) offer(addr uint64, n uint32, flags uint16) {
	p := frontend.Place{Entry: d.at % d.Size, Wrap: d.at/d.Size%2 == 0}
	d.Put(p.Entry, addr, n, uint16(p.Entry), flags|p.Owner(false))
	d.at++
}
