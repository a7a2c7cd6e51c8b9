package vale

import "testing"

// busy is a port that always has frames, and whose batches take so long.
type busy struct {
	script
	frames []Frame
	clock  *int64
	cost   int64 // nanoseconds
	used   int64
	quiet  bool
}

func (p *busy) Receive(frames []Frame) (int, error) {
	if p.quiet {
		return 0, nil
	}
	*p.clock += p.cost
	p.used += p.cost
	return copy(frames, p.frames), nil
}

// contest has three ports send for some rounds: two send to each other, and a third whose batches take so long; it returns the
// third's share of the time.
func contest(t *testing.T, cost int64, frames []Frame, quiet bool) float64 {
	t.Helper()
	s, _ := stepped(t, 0, 0)
	now := new(int64)
	s.waker.clock = func() int64 { return *now }
	pair := []*busy{
		{clock: now, cost: 2000, frames: []Frame{frame(2, 1, 60)}, quiet: quiet, script: script{room: 1 << 30}},
		{clock: now, cost: 2000, frames: []Frame{frame(1, 2, 60)}, quiet: quiet, script: script{room: 1 << 30}},
	}
	third := &busy{clock: now, cost: cost, frames: frames}
	for i, p := range []Port{pair[0], pair[1], third} {
		if err := s.Attach(string('a'+rune(i)), p); err != nil {
			t.Fatal(err)
		}
	}
	for range 30000 {
		s.round()
	}
	for _, p := range pair {
		p.got = nil
	}
	return float64(third.used) / float64(third.used+pair[0].used+pair[1].used)
}

// TestFairness: useless work gets a tenth of the time at most, however long it takes; dear work half of it; and whoever is alone
// has all.
func TestFairness(t *testing.T) {
	broadcast := frame(0, 3, 60)
	copy(broadcast.Data, "\xff\xff\xff\xff\xff\xff")
	for name, tt := range map[string]struct {
		cost      int64
		frames    []Frame
		quiet     bool
		least, at float64
	}{
		"useful and cheap":     {2000, []Frame{frame(1, 3, 60)}, false, 0.33, 0.34},
		"useful and dear":      {500_000, []Frame{frame(1, 3, 60)}, false, 0.45, 0.53},
		"useless and cheap":    {2000, []Frame{{}}, false, 0.02, 0.11},
		"useless and dear":     {500_000, []Frame{{}}, false, 0.05, 0.11},
		"its own":              {20_000, []Frame{frame(3, 3, 60)}, false, 0.05, 0.11},
		"broadcasts":           {20_000, []Frame{broadcast}, false, 0.05, 0.11},
		"half of it useless":   {20_000, []Frame{frame(1, 3, 60), {}}, false, 0.1, 0.2},
		"useless and alone":    {20_000, []Frame{{}}, true, 1, 1},
		"broadcasts and alone": {20_000, []Frame{broadcast}, true, 1, 1},
	} {
		if share := contest(t, tt.cost, tt.frames, tt.quiet); share < tt.least || share > tt.at {
			t.Errorf("%s: %.3f of the time, not %.2f to %.2f", name, share, tt.least, tt.at)
		}
	}
}

// TestRefused: frames to a port that takes none are of no use.
func TestRefused(t *testing.T) {
	s, _ := stepped(t, 0, 0)
	deaf := &script{in: []Frame{frame(9, 8, 60)}}
	sender := &flooder{frames: []Frame{frame(8, 7, 60)}}
	for i, p := range []Port{deaf, sender, &script{}} {
		if err := s.Attach(string('a'+rune(i)), p); err != nil {
			t.Fatal(err)
		}
	}
	s.round()
	before := s.members[1].uselessness()
	s.round()
	if got := s.members[1].uselessness() - before; got != MaxBatch {
		t.Errorf("%d of %d frames that nobody took count as useless", got, MaxBatch)
	}
}
