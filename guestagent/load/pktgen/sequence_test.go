package pktgen

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestTracker(t *testing.T) {
	for name, tc := range map[string]struct {
		numbers []uint32
		want    Sequence
	}{
		"in order":            {[]uint32{5, 6, 7, 8}, Sequence{}},
		"over the end":        {[]uint32{0xfffffffe, 0xffffffff, 0, 1}, Sequence{}},
		"a gap":               {[]uint32{0, 1, 5, 6}, Sequence{Lost: 3}},
		"late":                {[]uint32{0, 2, 1, 3}, Sequence{Late: 1}},
		"late and lost":       {[]uint32{0, 4, 2, 5}, Sequence{Lost: 2, Late: 1}},
		"twice":               {[]uint32{0, 1, 1, 2, 0}, Sequence{Duplicates: 2}},
		"late twice":          {[]uint32{0, 2, 1, 1}, Sequence{Late: 1, Duplicates: 1}},
		"started again":       {[]uint32{100000, 100001, 0, 1, 2}, Sequence{Restarts: 1}},
		"far gap forgets":     {[]uint32{0, 1, 10001, 10000}, Sequence{Lost: 9998, Late: 1}},
		"skipped, then again": {[]uint32{0, 4096, 1, 1}, Sequence{Lost: 4094, Late: 1, Duplicates: 1}},
	} {
		var tr tracker
		for _, n := range tc.numbers {
			tr.number(n)
		}
		if tr.Sequence != tc.want {
			t.Errorf("%s: %+v, want %+v", name, tr.Sequence, tc.want)
		}
	}
}

// TestTrackerAgainstSets compares with the plain way to count.
func TestTrackerAgainstSets(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		var sent []uint32
		for n := range uint32(3000) {
			if rng.IntN(50) == 0 && n > 0 && n < 2999 {
				continue // lost
			}
			sent = append(sent, n)
			if rng.IntN(50) == 0 {
				sent = append(sent, n)
			}
		}
		for range 100 { // late, within the window
			i := 1 + rng.IntN(len(sent)-2)
			j := min(i+rng.IntN(40), len(sent)-2)
			sent = slices.Insert(slices.Delete(slices.Clone(sent), i, i+1), j, sent[i])
		}
		var tr tracker
		seen := map[uint32]bool{}
		duplicates := uint64(0)
		for _, n := range sent {
			tr.number(n)
			if seen[n] {
				duplicates++
			}
			seen[n] = true
		}
		if lost := uint64(3000 - len(seen)); tr.Lost != lost || tr.Duplicates != duplicates || tr.Restarts != 0 {
			t.Fatalf("%+v, want %d lost, %d duplicates", tr.Sequence, lost, duplicates)
		}
	}
}

func TestHashFindsEveryChange(t *testing.T) {
	for _, args := range [][]string{{"-l", "60"}, {"-6", "-l", "80"}} {
		c := config(t, append(args, "-f", "txseq")...)
		frame := make([]byte, c.Size)
		newGenerator(c, 0).next(frame)
		if seq, v := readNumber(frame); seq != 0 || v != sound {
			t.Fatalf("a fresh frame: number %d, %v", seq, v)
		}
		for i := headersLen(c.Headers.V6); i < len(frame); i++ {
			for bit := range 8 {
				frame[i] ^= 1 << bit
				if _, v := readNumber(frame); v != corrupt {
					t.Errorf("%v: bit %d of byte %d flipped: %v", args, bit, i, v)
				}
				frame[i] ^= 1 << bit
			}
		}
	}
}

// TestOriginalNumbers takes frames as the original's txseq makes them: a number, a UDP checksum, no hash.
func TestOriginalNumbers(t *testing.T) {
	c := config(t, "-l", "60")
	tm := newTemplate(&c.Headers, 60)
	tm.put32(tm.payload(), 0x01020304)
	if seq, v := readNumber(tm.frame); seq != 0x01020304 || v != sound {
		t.Errorf("number %#x, %v", seq, v)
	}
	tm.frame[59] ^= 1
	if _, v := readNumber(tm.frame); v != corrupt {
		t.Error("a changed one is sound")
	}
	if _, v := readNumber(tm.frame[:40]); v != foreign {
		t.Error("a cut one has a number")
	}
}
