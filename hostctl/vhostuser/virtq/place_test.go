package virtq

import (
	"bytes"
	"testing"

	"picolab/hostctl/vhostuser/internal/frontend"
)

// TestPlaceCrash has the device crash at any moment of a batch, and a successor that is told an old base go on with just the
// buffers that were not used.
func TestPlaceCrash(t *testing.T) {
	const size = 8
	for _, moment := range []string{"popped", "pushed", "noted", "published", "flushed"} {
		s := newPackedSetup(t, size, packedFeatures)
		cfg := s.config(packedFeatures)
		cfg.Place = make([]byte, PlaceSize)
		s.restart(t, cfg)
		for i := range 50 {
			first, second := s.add(t, i), s.add(t, i+1)
			at := s.ring.Used.Entry
			c := s.setup.pop(t)
			before := bytes.Clone(cfg.Place)
			if moment != "popped" {
				s.q.Push(c, 0)
			}
			head := bytes.Clone(s.mem.Mem[s.ring.Desc+16*at:][:16])
			if moment == "noted" || moment == "published" || moment == "flushed" {
				s.q.Flush()
			}
			after := bytes.Clone(cfg.Place)
			switch moment {
			case "noted": // the descriptor was not written yet
				copy(s.mem.Mem[s.ring.Desc+16*at:], head)
				halfway(cfg.Place, before, after)
			case "published":
				halfway(cfg.Place, before, after)
			}
			used := moment == "published" || moment == "flushed"
			s.restart(t, cfg)
			for _, id := range []uint16{first, second} {
				if id == first && used {
					continue
				}
				if c := s.setup.pop(t); c.id != id {
					t.Fatalf("%s, round %d: buffer %d, want %d", moment, i, c.id, id)
				} else {
					s.q.Push(c, 0)
				}
			}
			s.q.Flush()
			for _, id := range []uint16{first, second} {
				if got, _, ok := s.ring.Take(); !ok || got != id {
					t.Fatalf("%s, round %d: used %d %v, want %d", moment, i, got, ok, id)
				}
			}
		}
	}
}

// halfway makes p what it is between the two notes of a batch: now as after, before as before.
func halfway(p, before, after []byte) {
	copy(p[placeWord:], after[placeWord:placeWord+2])
	copy(p[placeWord+2:], before[placeWord:placeWord+2])
	p[placeWord+4], p[placeWord+5] = after[placeWord+4], before[placeWord+4]
}

// restart puts a new queue on the ring, whose base is always that of a new one.
func (s *packedSetup) restart(t *testing.T, cfg Config) {
	t.Helper()
	s.q.Close()
	var err error
	if s.q, err = New(cfg); err != nil {
		t.Fatal(err)
	}
}

// add makes a buffer of one to three entries.
func (s *packedSetup) add(t *testing.T, i int) uint16 {
	t.Helper()
	bufs := make([]frontend.Buf, 1+i%3)
	for j := range bufs {
		bufs[j] = frontend.Buf{Off: 0x8000 + 64*j, Len: 16}
	}
	return s.ring.Add(bufs...)
}

// TestPlaceRefused: what the place says is checked.
func TestPlaceRefused(t *testing.T) {
	s := newPackedSetup(t, 8, packedFeatures)
	cfg := s.config(packedFeatures)
	cfg.Place = make([]byte, PlaceSize-1)
	if q, err := New(cfg); err == nil {
		q.Close()
		t.Error("a short place was taken")
	}
	for name, change := range map[string]func(p []byte){
		"version": func(p []byte) { p[placeVersion]++ }, "size": func(p []byte) { p[placeSize]++ },
		"entry": func(p []byte) { p[placeWord] = 8 }, "entry before": func(p []byte) { p[placeWord+3] = 1 },
	} {
		cfg.Place = make([]byte, PlaceSize)
		s.restart(t, cfg)
		s.add(t, 0)
		s.q.Push(s.setup.pop(t), 0)
		s.q.Flush()
		s.ring.Take()
		change(cfg.Place)
		cfg.Base = s.ring.Base() // what counts if the place does not
		s.restart(t, cfg)
		if s.q.Base() != s.ring.Base() {
			t.Errorf("%s: base %#x, want %#x", name, s.q.Base(), s.ring.Base())
		}
	}
}

// TestPlaceFull: a ring that is wholly available after two laps looks like a new one, and begins where that does.
func TestPlaceFull(t *testing.T) {
	s := newPackedSetup(t, 8, packedFeatures)
	cfg := s.config(packedFeatures)
	cfg.Place = make([]byte, PlaceSize)
	s.restart(t, cfg)
	for range 16 {
		s.add(t, 0)
		s.q.Push(s.setup.pop(t), 0)
		s.q.Flush()
		s.ring.Take()
	}
	first := s.add(t, 0)
	for range 7 {
		s.add(t, 0)
	}
	cfg.Base = 0x80038003
	s.restart(t, cfg)
	if c := s.setup.pop(t); c.id != first || s.q.Base() != PackedBase {
		t.Errorf("buffer %d, want %d; base %#x", c.id, first, s.q.Base())
	}
}
