package virtq

import (
	"errors"
	"testing"

	"picolab/hostctl/vhostuser/internal/frontend"
)

// TestHostileDrivers breaks the rules one by one. Each must be found within one Pop, break the queue for good, and leave
// what was popped before usable.
func TestHostileDrivers(t *testing.T) {
	const size = 8
	tests := []struct {
		name  string
		build func(s *setup)
	}{
		{"cycle of one", func(s *setup) { s.desc(0, 0x1000, 1, frontend.Next, 0); s.ring.Offer(0) }},
		{"cycle of three, and the control queue's of 2026", func(s *setup) {
			s.desc(0, 0x1000, 1, frontend.Next, 1)
			s.desc(1, 0x1000, 1, frontend.Next, 2)
			s.desc(2, 0x1000, 1, frontend.Next, 0)
			s.ring.Offer(0)
		}},
		{"next beyond the table", func(s *setup) { s.desc(0, 0x1000, 1, frontend.Next, size); s.ring.Offer(0) }},
		{"head beyond the table", func(s *setup) { s.ring.Offer(size) }},
		{"head 65535", func(s *setup) { s.ring.Offer(0xffff) }},
		{"avail index too far ahead", func(s *setup) { s.desc(0, 0x1000, 1, 0, 0); s.ring.SetAvailIdx(size + 1) }},
		{"avail index goes back", func(s *setup) { s.desc(0, 0x1000, 1, 0, 0); s.ring.SetAvailIdx(0xffff) }},
		{"address outside", func(s *setup) { s.desc(0, 1<<40, 1, 0, 0); s.ring.Offer(0) }},
		{"CVE-2018-1059: end outside", func(s *setup) { s.desc(0, memorySize-1, 2, 0, 0); s.ring.Offer(0) }},
		{"CVE-2020-10725: bad address, length 0", func(s *setup) { s.desc(0, 1<<40, 0, 0, 0); s.ring.Offer(0) }},
		{"length 2^32-1", func(s *setup) { s.desc(0, 0, 0xffffffff, 0, 0); s.ring.Offer(0) }},
		{"readable after writable", func(s *setup) {
			s.desc(0, 0x1000, 1, frontend.Write|frontend.Next, 1)
			s.desc(1, 0x1000, 1, 0, 0)
			s.ring.Offer(0)
		}},
		{"indirect with next", func(s *setup) { s.desc(0, 0x1000, 16, frontend.Indirect|frontend.Next, 1); s.ring.Offer(0) }},
		{"indirect of length 0", func(s *setup) { s.desc(0, 0x1000, 0, frontend.Indirect, 0); s.ring.Offer(0) }},
		{"indirect of odd length", func(s *setup) { s.desc(0, 0x1000, 24, frontend.Indirect, 0); s.ring.Offer(0) }},
		{"indirect too long", func(s *setup) { s.desc(0, 0x1000, 16*(MaxSize+1), frontend.Indirect, 0); s.ring.Offer(0) }},
		{"indirect outside", func(s *setup) { s.desc(0, memorySize-16, 32, frontend.Indirect, 0); s.ring.Offer(0) }},
		{"indirect in indirect", func(s *setup) { s.table(0, frontend.Indirect, 0); s.ring.Offer(0) }},
		{"cycle in an indirect table", func(s *setup) { s.table(0, frontend.Next, 0); s.ring.Offer(0) }},
		{"next beyond an indirect table", func(s *setup) { s.table(0, frontend.Next, 2); s.ring.Offer(0) }},
	}
	for _, tt := range tests {
		s := newSetup(t, size, allFeatures)
		s.mem.Alloc(0x10000)
		tt.build(s)
		var c Chain
		if ok, err := s.q.Pop(&c); ok || !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v, %v", tt.name, ok, err)
		}
		if _, err := s.q.Pop(&c); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: the queue healed: %v", tt.name, err)
		}
		if s.q.Flush() || s.q.EnableKick() || s.q.Base() != 0 {
			t.Errorf("%s: the broken queue still moves", tt.name)
		}
	}
}

func (s *setup) desc(i int, off uint64, n uint32, flags, next uint16) {
	s.ring.PutDesc(s.ring.Desc, i, s.mem.GPA+off, n, flags, next)
}

// table makes descriptor i point to an indirect table at 0x2000 of two entries, the first of which is 16 bytes at 0x3000.
func (s *setup) table(i int, flags, next uint16) {
	s.ring.PutDesc(0x2000, 0, s.mem.GPA+0x3000, 16, flags, next)
	s.ring.PutDesc(0x2000, 1, s.mem.GPA+0x3000, 16, 0, 0)
	s.ring.PutDesc(0x3000, 0, s.mem.GPA+0x4000, 16, 0, 0) // what is there may be a table, too
	s.desc(i, 0x2000, 32, frontend.Indirect, 0)
}

func TestIndirectNeedsFeature(t *testing.T) {
	s := newSetup(t, 8, FeatureVersion1)
	s.mem.Alloc(0x10000)
	s.table(0, 0, 0)
	s.ring.Offer(0)
	if _, err := s.q.Pop(&Chain{}); !errors.Is(err, ErrBroken) {
		t.Errorf("indirect without the feature: %v", err)
	}
}

// TestCVE_2016_5403: a driver offers buffers again before they are completed.
func TestCVE_2016_5403(t *testing.T) {
	s := newSetup(t, 4, allFeatures)
	s.desc(0, 0x1000, 1, 0, 0)
	popped := 0
	for range 4 * 4 {
		s.ring.Offer(0)
		ok, err := s.q.Pop(&Chain{})
		if errors.Is(err, ErrBroken) {
			break
		}
		if ok {
			popped++
		}
	}
	if popped != 4 {
		t.Errorf("%d buffers in flight in a ring of 4", popped)
	}
}

// TestCVE_2020_14374 changes a descriptor, a header and an indirect table after they were popped: what was checked is what
// is used.
func TestCVE_2020_14374(t *testing.T) {
	s := newSetup(t, 8, allFeatures)
	s.mem.Alloc(0x10000)
	s.table(0, 0, 0)
	s.ring.Offer(0)
	c := s.pop(t)
	s.desc(0, 1<<40, 0xffffffff, frontend.Next, 77)
	s.ring.PutDesc(0x2000, 0, 1<<50, 0xffffffff, frontend.Next, 77)
	if n := c.Read(make([]byte, 100)); n != 16 {
		t.Errorf("read %d bytes", n)
	}
}

// TestCVE_2022_2132 spreads a header of 12 bytes over one to six descriptors.
func TestCVE_2022_2132(t *testing.T) {
	for pieces := 1; pieces <= 6; pieces++ {
		s := newSetup(t, 8, allFeatures)
		var bufs []frontend.Buf
		for i := range pieces {
			bufs = append(bufs, s.text("0123456789ab"[12*i/pieces:12*(i+1)/pieces]))
		}
		s.ring.Add(append(bufs, s.text("payload"))...)
		c, h := s.pop(t), make([]byte, 12)
		if c.Read(h) != 12 || string(h) != "0123456789ab" || readAll(c) != "payload" {
			t.Errorf("%d pieces: %q", pieces, h)
		}
	}
}
