package vale

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

// script is a port that gives what the test put into it, and takes as much as the test says.
type script struct {
	in    []Frame
	got   [][]byte
	room  int // frames that it still takes
	takes Offloads
}

func (p *script) Start(Waker) error  { return nil }
func (p *script) Close() error       { return nil }
func (p *script) Arm() bool          { return false }
func (p *script) Offloads() Offloads { return p.takes }

func (p *script) Receive(frames []Frame) (int, error) {
	n := copy(frames, p.in)
	p.in = p.in[n:]
	return n, nil
}

func (p *script) Send(frames []Frame) (n, size int) {
	for _, f := range frames {
		if p.room == 0 {
			break
		}
		p.room--
		p.got = append(p.got, bytes.Clone(f.Data))
		n, size = n+1, size+len(f.Data)
	}
	return n, size
}

// model is a switch as one would write it without a thought for speed.
type model struct {
	where map[[6]byte]int
	ports map[int]*modelPort
	order []int
}

type modelPort struct {
	up    bool
	room  int
	got   [][]byte
	count Counters
}

func (m *model) frame(from int, b []byte) {
	p := m.ports[from]
	p.count.FromFrames++
	p.count.FromBytes += uint64(len(b))
	if !p.up {
		p.count.FromDown++
		return
	}
	if len(b) < 14 || len(b) > MaxFrame {
		p.count.FromBad++
		return
	}
	dst, src := [6]byte(b), [6]byte(b[6:])
	if src[0]&1 == 0 && src != [6]byte{} {
		m.where[src] = from
	}
	if to, ok := m.where[dst]; ok && dst[0]&1 == 0 {
		if to == from {
			p.count.FromFiltered++
		} else {
			m.deliver(to, b)
		}
		return
	}
	if len(m.order) < 2 {
		p.count.FromFiltered++
		return
	}
	p.count.FromFlooded++
	for _, to := range m.order {
		if to != from {
			m.deliver(to, b)
		}
	}
}

func (m *model) deliver(to int, b []byte) {
	p := m.ports[to]
	switch {
	case !p.up:
		p.count.ToDown++
	case p.room == 0:
		p.count.ToFull++
	default:
		p.room--
		p.count.ToFrames++
		p.count.ToBytes += uint64(len(b))
		p.got = append(p.got, b)
	}
}

func (m *model) forget(port int) {
	for mac, p := range m.where {
		if p == port {
			delete(m.where, mac)
		}
	}
}

// noise is what frames are filled with.
var noise = func() []byte {
	b := make([]byte, 2*MaxFrame+1)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}()

// randomFrame makes a frame of any length between some addresses; one in eight goes to a group, one in 30 comes from one.
func randomFrame(r *rand.Rand) Frame {
	lengths := []int{0, 13, 14, 15, 60, 64, 65, 128, 60, 100, 1514, 1514, 1518, 9018, 60, 60, MaxFrame, MaxFrame + 1}
	b := make([]byte, lengths[r.IntN(len(lengths))])
	copy(b, noise[r.IntN(MaxFrame):])
	if len(b) < 14 {
		return Frame{Data: b}
	}
	copy(b, []byte{2, 0, 0, 0, 0, byte(r.IntN(30)), 2, 0, 0, 0, 0, byte(r.IntN(30)), 0x81, 0})
	switch r.IntN(30) {
	case 0, 1:
		copy(b, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	case 2, 3:
		b[0] = 3
	case 4:
		b[6] = 3
	case 5:
		clear(b[6:12])
	case 6:
		clear(b[:6])
	}
	return Frame{Data: b}
}

// TestAgainstModel puts random batches through the switch and through the model, while ports come, go, lose their links and
// fill up: the same frames in the same order, and the same counts.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { againstModel(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func againstModel(t *testing.T, r *rand.Rand) {
	s, _ := stepped(t, 0, 0)
	m := &model{where: map[[6]byte]int{}, ports: map[int]*modelPort{}}
	ports := map[int]*script{}
	for range 60 {
		if id := r.IntN(6); len(m.order) < 2 || r.IntN(4) == 0 {
			toggle(t, s, m, ports, id)
		}
		for _, id := range m.order {
			prepare(t, s, m, ports[id], id, r)
		}
		for _, id := range m.order { // a round takes at most MaxBatch from each
			for _, f := range ports[id].in {
				m.frame(id, f.Data)
			}
		}
		s.round()
		compareModel(t, s, m, ports)
	}
}

// toggle attaches a port or detaches it.
func toggle(t *testing.T, s *Switch, m *model, ports map[int]*script, id int) {
	if m.ports[id] == nil {
		ports[id], m.ports[id] = &script{}, &modelPort{up: true}
		m.order = append(m.order, id)
		if err := s.Attach(fmt.Sprint(id), ports[id]); err != nil {
			t.Fatal(err)
		}
		return
	}
	m.forget(id)
	delete(m.ports, id)
	for i, o := range m.order {
		if o == id {
			m.order = append(m.order[:i:i], m.order[i+1:]...)
		}
	}
	if err := s.Detach(fmt.Sprint(id)); err != nil {
		t.Fatal(err)
	}
}

// prepare gives a port something to send, room, and now and then another link state.
func prepare(t *testing.T, s *Switch, m *model, p *script, id int, r *rand.Rand) {
	p.room = []int{0, 3, 40, 1 << 20}[r.IntN(4)]
	m.ports[id].room = p.room
	for range []int{0, 1, 7, 60}[r.IntN(4)] {
		p.in = append(p.in, randomFrame(r))
	}
	if r.IntN(10) == 0 {
		up := !m.ports[id].up
		m.ports[id].up = up
		if !up {
			m.forget(id)
		}
		if err := s.SetLink(fmt.Sprint(id), up); err != nil {
			t.Fatal(err)
		}
	}
}

func compareModel(t *testing.T, s *Switch, m *model, ports map[int]*script) {
	t.Helper()
	for i, id := range m.order {
		want, got := m.ports[id], s.members[i]
		if got.count != want.count {
			t.Fatalf("port %d counts\n%+v, the model\n%+v", id, got.count, want.count)
		}
		if len(ports[id].got) != len(want.got) {
			t.Fatalf("port %d got %d frames, the model %d", id, len(ports[id].got), len(want.got))
		}
		for k := range want.got {
			if !bytes.Equal(ports[id].got[k], want.got[k]) {
				t.Fatalf("port %d: frame %d differs", id, k)
			}
		}
		ports[id].got, want.got = nil, nil
	}
	if s.table.len() != len(m.where) {
		t.Fatalf("%d addresses, the model has %d", s.table.len(), len(m.where))
	}
}

// TestLearning64k: so many addresses are all found again, and are where they were learned.
func TestLearning64k(t *testing.T) {
	table := newTable()
	for i := range uint64(1 << 16) {
		table.learn(i<<1+2, uint8(i%3))
	}
	missing := 0
	for i := range uint64(1 << 16) {
		port, ok := table.lookup(i<<1 + 2)
		if !ok {
			missing++
		} else if port != uint8(i%3) {
			t.Fatalf("address %d is on port %d", i, port)
		}
	}
	if missing > 0 || table.len() != 1<<16 {
		t.Errorf("%d of 65536 addresses are missing, %d known", missing, table.len())
	}
}

// TestFloodOfAddresses: a port that claims millions of addresses drives out nobody else's, also not those learned later.
func TestFloodOfAddresses(t *testing.T) {
	table := newTable()
	for i := range uint64(1000) {
		table.learn(i<<1+2, 1)
	}
	for i := range uint64(1 << 19) {
		table.learn(1<<40|i<<1, 2)
	}
	for i := range uint64(1000) {
		table.learn(1<<41|i<<1, 1)
	}
	for i := range uint64(1000) {
		if _, ok := table.lookup(i<<1 + 2); !ok {
			t.Fatalf("address %d is gone", i)
		}
		if _, ok := table.lookup(1<<41 | i<<1); !ok {
			t.Fatalf("late address %d was not learned", i)
		}
	}
	if n := table.owned[2]; n > maxPerPort {
		t.Errorf("the flooder owns %d", n)
	}
}

// TestAgeing: an address that is heard stays, one that is not goes after five ticks at most.
func TestAgeing(t *testing.T) {
	now := int64(0)
	s, p := stepped(t, 2, 0)
	s.waker.clock = func() int64 { return now }
	say := func(i int) {
		p[i].Write([]Frame{frame(0xffff, uint32(i+1), 60)})
		s.round()
	}
	say(0)
	say(1)
	for range 5 {
		now += tickEvery
		s.age()
		say(0)
	}
	if n := s.table.len(); n != 1 {
		t.Errorf("%d addresses", n)
	}
	b := frame(0, 1, 60).Data
	if _, ok := s.table.lookup(binary.LittleEndian.Uint64(b[4:]) >> 16); !ok {
		t.Error("the wrong one went")
	}
}
