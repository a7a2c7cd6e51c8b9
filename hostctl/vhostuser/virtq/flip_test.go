package virtq

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"picolab/hostctl/vhostuser/guestmem"
)

// TestCVE_2020_14375: a driver changes a descriptor while the device looks at it, from one that can be to one that cannot:
// what is popped is the one or the queue is broken, and never a mixture.
func TestCVE_2020_14375(t *testing.T) {
	const good, bad = 64, 64 | 1<<30 // one byte differs: there is no third value, however it is read
	for name, packed := range map[string]bool{"split": false, "packed": true} {
		t.Run(name, func(t *testing.T) {
			s, desc := offered(t, packed)
			length := func(n uint32) { guestmem.Store32(desc, 8, n) }
			var stop atomic.Bool
			var flipping sync.WaitGroup
			flipping.Go(func() {
				for !stop.Load() {
					length(bad)
					length(good)
				}
			})
			defer flipping.Wait()
			defer stop.Store(true)
			popped, broken := 0, 0
			for range 20000 {
				n, err := popFresh(t, s)
				if n > 0 {
					popped++
				} else if errors.Is(err, ErrBroken) {
					broken++
				}
			}
			if popped == 0 || broken == 0 {
				t.Logf("%d popped, %d broken: the two never met", popped, broken)
			}
		})
	}
}

// offered returns a ring of 8 buffers of 64 bytes, and its descriptors.
func offered(t *testing.T, packed bool) (*setup, []byte) {
	t.Helper()
	if packed {
		p := newPackedSetup(t, 8, packedFeatures)
		d := newBenchPacked(p, 0x8000, 64, 0)
		d.offer(8)
		return &p.setup, d.desc
	}
	s := newSetup(t, 8, allFeatures)
	newBenchSplit(s, 0x8000, 64, 0).offer(8)
	return s, s.mem.Mem[s.ring.Desc:]
}

// popFresh pops what a new queue on the ring has, and checks that it is what was allowed.
func popFresh(t *testing.T, s *setup) (int, error) {
	t.Helper()
	var cfg Config
	switch q := s.q.(type) {
	case *split:
		cfg = q.cfg
	case *packed:
		cfg = q.cfg
	}
	q, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	var chains [8]Chain
	n, err := q.PopBatch(chains[:])
	for i := range n {
		if b := chains[i].ReadHead(); len(b) != 64 || chains[i].Readable() != 64 {
			t.Fatalf("buffer %d of %d: %d bytes, %+v", i, n, len(b), chains[i])
		}
	}
	return n, err
}
