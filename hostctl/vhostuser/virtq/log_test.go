package virtq

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"picolab/hostctl/vhostuser/guestmem"
	"picolab/hostctl/vhostuser/internal/frontend"
)

// logSize is the number of entries of the rings here: enough for the areas to be in several pages.
const logSize = 2048

// logged is a ring whose writes are logged, with what a naive device would have to mark.
type logged struct {
	mem     *frontend.Memory
	bits    *frontend.Memory // the log
	q       Queue
	dirty   map[int]bool // pages of the memory
	add     func(bufs ...frontend.Buf)
	takeAll func()
	flushed func(entries, buffers int) // marks what publishing them writes
	event   [2]int                     // offset and length of what EnableKick writes
}

func (l *logged) mark(off, n int) {
	for p := off / guestmem.LogPage; n > 0 && p <= (off+n-1)/guestmem.LogPage; p++ {
		l.dirty[p] = true
	}
}

// openLog makes a log for all of the guest's memory.
func openLog(t *testing.T, m *frontend.Memory) (*frontend.Memory, *guestmem.Log) {
	t.Helper()
	size := int(m.GPA+uint64(len(m.Mem))) / guestmem.LogPage / 8
	bits := frontend.NewMemory(t, size)
	l, err := guestmem.OpenLog(bits.FD, uint64(size), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return bits, l
}

// newLogged replaces the queue of s by one that logs; the device area is at used.
func newLogged(t *testing.T, s *setup, cfg Config, used int) *logged {
	t.Helper()
	l := &logged{mem: s.mem, dirty: map[int]bool{}}
	var log *guestmem.Log
	l.bits, log = openLog(t, s.mem)
	cfg.BufferLog, cfg.RingLog, cfg.RingLogAddr = log, log, s.mem.GPA+uint64(used)
	q, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.q.Close()
	s.q, l.q = q, q
	return l
}

func TestLogSplit(t *testing.T) {
	s := newSetup(t, logSize, allFeatures)
	l := newLogged(t, s, s.config(allFeatures), s.ring.Used)
	index := 0
	l.add = func(bufs ...frontend.Buf) { s.ring.Add(bufs...) }
	l.takeAll = s.takeAll
	l.flushed = func(_, buffers int) {
		for range buffers {
			l.mark(s.ring.Used+4+8*(index%logSize), 8)
			index++
		}
		l.mark(s.ring.Used, 4)
	}
	l.event = [2]int{s.ring.Used + 4 + 8*logSize, 2}
	l.run(t)
}

func TestLogPacked(t *testing.T) {
	s := newPackedSetup(t, logSize, packedFeatures)
	l := newLogged(t, &s.setup, s.config(packedFeatures), s.ring.Device)
	index := 0
	l.add = func(bufs ...frontend.Buf) { s.ring.Add(bufs...) }
	l.takeAll = func() {
		for _, _, ok := s.ring.Take(); ok; _, _, ok = s.ring.Take() {
		}
	}
	l.flushed = func(entries, _ int) {
		for range entries {
			l.mark(s.ring.Desc+16*(index%logSize), 16)
			index++
		}
	}
	l.event = [2]int{s.ring.Device, 4}
	l.run(t)
}

// run compares, batch after batch, the log with the model, and with what has really changed.
func (l *logged) run(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for round := range 100 {
		clear(l.bits.Mem)
		clear(l.dirty)
		var batch [][]frontend.Buf
		for range 1 + rnd.IntN(30) {
			batch = append(batch, randomBufs(rnd))
			l.add(batch[len(batch)-1]...)
		}
		before := bytes.Clone(l.mem.Mem)
		entries := 0
		for _, bufs := range batch {
			l.use(t, rnd, bufs)
			entries += len(bufs)
		}
		l.q.Flush()
		l.flushed(entries, len(batch))
		l.q.EnableKick()
		l.mark(l.event[0], l.event[1])
		l.compare(t, round, before)
		l.takeAll()
	}
}

// randomBufs is a chain of up to five pieces, some across pages and some empty.
func randomBufs(rnd *rand.Rand) (bufs []frontend.Buf) {
	out := false
	for range 1 + rnd.IntN(5) {
		out = out || rnd.IntN(2) == 0
		n := rnd.IntN(3) * rnd.IntN(6000)
		bufs = append(bufs, frontend.Buf{Off: 0x10000 + rnd.IntN(memorySize-0x10000-n), Len: n, Write: out})
	}
	return bufs
}

// use pops a buffer, writes to some of it in one way or the other, and pushes it.
func (l *logged) use(t *testing.T, rnd *rand.Rand, bufs []frontend.Buf) {
	var c Chain
	if ok, err := l.q.Pop(&c); !ok || err != nil {
		t.Fatal(ok, err)
	}
	junk := make([]byte, rnd.IntN(c.Writable()+1))
	for i := range junk {
		junk[i] = byte(rnd.Uint32())
	}
	said := len(junk)
	if rnd.IntN(2) == 0 {
		c.Write(junk)
		said /= 2 // a device that writes more than it says
	} else {
		for _, s := range c.WriteSegments(nil, 0, len(junk)) {
			junk = junk[copy(s, junk):]
		}
	}
	l.q.Push(&c, said)
	for left, i := max(said, c.wrote), 0; left > 0; i++ {
		if bufs[i].Write {
			n := min(left, bufs[i].Len)
			l.mark(bufs[i].Off, n)
			left -= n
		}
	}
}

func (l *logged) compare(t *testing.T, round int, before []byte) {
	t.Helper()
	first := int(l.mem.GPA) / guestmem.LogPage
	for p := range 8 * len(l.bits.Mem) {
		got := l.bits.Mem[p/8]&(1<<(p%8)) != 0
		if want := l.dirty[p-first]; got != want {
			t.Fatalf("round %d: page %d is marked: %v", round, p-first, got)
		}
	}
	for p := range len(before) / guestmem.LogPage {
		off := p * guestmem.LogPage
		if !l.dirty[p] && !bytes.Equal(before[off:][:guestmem.LogPage], l.mem.Mem[off:][:guestmem.LogPage]) {
			t.Fatalf("round %d: page %d was written and not marked", round, p)
		}
	}
}

// TestLogAllocates nothing.
func TestLogAllocates(t *testing.T) {
	s := newPackedSetup(t, 64, packedFeatures)
	newLogged(t, &s.setup, s.config(packedFeatures), s.ring.Device)
	out := s.space(64)
	d := driver{Packed: s.ring}
	var c Chain
	var b [64]byte
	round := func() {
		d.offer(s.mem.GPA+uint64(out.Off), 64, frontend.Write)
		if ok, err := s.q.Pop(&c); !ok || err != nil {
			t.Fatal(ok, err)
		}
		s.q.Push(&c, c.Write(b[:]))
		s.q.Flush()
	}
	if n := testing.AllocsPerRun(200, round); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
