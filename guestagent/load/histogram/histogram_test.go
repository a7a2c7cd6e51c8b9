package histogram

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestPercentiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h Histogram
	var all []time.Duration
	for range 10000 {
		d := time.Duration(rng.ExpFloat64() * 1e6)
		h.Add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, p := range []float64{0.01, 1, 50, 90, 99, 99.9, 100} {
		want := all[int(float64(len(all))*p/100+0.9999999)-1]
		if got := h.Percentile(p); got < want || float64(got) > float64(want)*1.017+1 {
			t.Errorf("p%v: %v, want %v", p, got, want)
		}
	}
	if h.Min() != all[0] || h.Max() != all[len(all)-1] || h.Count() != 10000 {
		t.Errorf("min %v max %v of %d", h.Min(), h.Max(), h.Count())
	}
}

func TestEmpty(t *testing.T) {
	var h Histogram
	if h.Percentile(50) != 0 || h.Mean() != 0 || h.Min() != 0 {
		t.Error("not zero")
	}
}

func TestBuckets(t *testing.T) {
	for _, v := range []uint64{0, 1, 63, 64, 127, 128, 129, 255, 256, 1 << 20, 1<<20 + 12345, 1<<63 - 1} {
		i := bucket(v)
		if up := upper(i); up < v || float64(up-v) > float64(v)/64+1 || i > 0 && upper(i-1) >= v {
			t.Errorf("%d is in bucket %d, up to %d", v, i, up)
		}
	}
	var h Histogram
	h.Add(-1)
	h.Add(1<<63 - 1)
	if h.Percentile(100) != 1<<63-1 || h.Percentile(1) != 0 {
		t.Error("ends")
	}
}
