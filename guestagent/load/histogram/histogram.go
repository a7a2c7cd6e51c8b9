// Package histogram counts durations in log-linear buckets: 64 to each power of two, so that a percentile is at most
// 1.6 % too high. It is not safe for concurrent use.
package histogram

import (
	"math/bits"
	"time"
)

const subBits = 6 // 64 buckets to a power of two

// Histogram holds durations of 0 to about 292 years. The zero value is empty.
type Histogram struct {
	buckets  [(64 - subBits) << subBits]uint64
	n        uint64
	sum      float64
	min, max time.Duration
}

// Add counts one duration; a negative one counts as 0.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	if h.n == 0 || d < h.min {
		h.min = d
	}
	h.max = max(h.max, d)
	h.n++
	h.sum += float64(d)
	h.buckets[bucket(uint64(d))]++
}

// bucket maps 0..63 to themselves and larger values by their highest 1+subBits bits.
func bucket(v uint64) int {
	shift := max(bits.Len64(v)-1-subBits, 0)
	return shift<<subBits + int(v>>shift)
}

// upper is the largest value of a bucket.
func upper(i int) uint64 {
	if i < 2<<subBits {
		return uint64(i)
	}
	shift := i>>subBits - 1
	return (uint64(i-shift<<subBits)+1)<<shift - 1
}

// Count is how many durations were added.
func (h *Histogram) Count() uint64 { return h.n }

// Min and Max are exact; 0 when empty.
func (h *Histogram) Min() time.Duration { return h.min }

// Max is the largest duration, exact.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean is the average; 0 when empty.
func (h *Histogram) Mean() time.Duration {
	if h.n == 0 {
		return 0
	}
	return time.Duration(h.sum / float64(h.n))
}

// Percentile is the smallest value that at least p percent (0..100) do not exceed, up to the bucket's width.
func (h *Histogram) Percentile(p float64) time.Duration {
	need := uint64(float64(h.n)*p/100 + 0.9999999)
	var seen uint64
	for i, c := range h.buckets {
		if seen += c; c > 0 && seen >= need {
			return min(max(time.Duration(upper(i)), h.min), h.max)
		}
	}
	return h.max
}
