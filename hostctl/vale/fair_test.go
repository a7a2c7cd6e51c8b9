package vale

import "testing"

// busy is a port that always has frames.
type busy struct {
	script
	frames []Frame
	quiet  bool
}

func (p *busy) Receive(frames []Frame) (int, error) {
	if p.quiet {
		return 0, nil
	}
	return copy(frames, p.frames), nil
}

func (p *busy) Send(frames []Frame) (n, size int) { return len(frames), 60 * len(frames) }

// many are MaxBatch frames, alternately.
func many(frames ...Frame) (out []Frame) {
	for i := range MaxBatch {
		out = append(out, frames[i%len(frames)])
	}
	return out
}

// contest has three ports send for some rounds: two send to each other, and a third these; it returns the third's share of the
// time.
func contest(t *testing.T, frames []Frame, quiet bool) float64 {
	t.Helper()
	s, _ := stepped(t, 0, 0)
	s.free = false
	for i, p := range []Port{
		&busy{frames: many(frame(2, 1, 60)), quiet: quiet}, &busy{frames: many(frame(1, 2, 60)), quiet: quiet}, &busy{frames: frames},
	} {
		if err := s.Attach(string('a'+rune(i)), p); err != nil {
			t.Fatal(err)
		}
	}
	for range 3000 {
		s.round()
	}
	return float64(s.members[2].owes.used) / float64(s.used)
}

// TestFairness: useless work gets a tenth of the time at most, however long it takes; dear work half of it; and whoever is alone
// has all.
func TestFairness(t *testing.T) {
	broadcast := frame(0, 3, 60)
	copy(broadcast.Data, "\xff\xff\xff\xff\xff\xff")
	big := packet{payload: 60000, size: 48}.build() // to a port that takes no segments
	for name, tt := range map[string]struct {
		frames      []Frame
		quiet       bool
		least, most float64
	}{
		"useful and cheap":     {many(frame(1, 3, 60)), false, 0.33, 0.34},
		"useful and dear":      {many(frame(1, 3, MaxFrame)), false, 0.45, 0.55},
		"segments":             {[]Frame{big, big, big, big}, false, 0.45, 0.55},
		"useless and cheap":    {[]Frame{{}}, false, 0, 0.11},
		"useless and many":     {many(Frame{}), false, 0.05, 0.11},
		"too long":             {many(Frame{Data: make([]byte, MaxFrame+1)}), false, 0.05, 0.11},
		"its own":              {many(frame(3, 3, 60)), false, 0.05, 0.11},
		"broadcasts":           {many(broadcast), false, 0.05, 0.11},
		"half of it useless":   {many(frame(1, 3, 60), Frame{}), false, 0.1, 0.2},
		"useless and alone":    {many(Frame{}), true, 1, 1},
		"broadcasts and alone": {many(broadcast), true, 1, 1},
	} {
		if share := contest(t, tt.frames, tt.quiet); share < tt.least || share > tt.most {
			t.Errorf("%s: %.3f of the time, not %.2f to %.2f", name, share, tt.least, tt.most)
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
