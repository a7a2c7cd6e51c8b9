package vale

import (
	"fmt"
	"math"
	"time"
)

// rate limits what comes from a port: a bucket of bytes that fills with time. A port whose bucket is empty is not asked for
// frames, so they wait in its own queue, as they would for a slow line.
type rate struct {
	perSecond float64 // bytes
	depth     float64
	left      float64 // below 0 after a batch that was greater than what was left
	at        int64
}

// frameCost is what a frame takes on a wire besides itself, in bytes: preamble, check sequence and gap (IEEE 802.3).
const frameCost = 24

// SetRate limits what comes from a port, in bits per second on an Ethernet wire; 0 lifts the limit. burst is how many bytes
// may come at once after a pause; 0 stands for 10 ms at that rate.
func (s *Switch) SetRate(name string, bits uint64, burst int) error {
	if burst < 0 {
		return fmt.Errorf("set rate of port %s: burst of %d bytes", name, burst)
	}
	return s.change("set rate of", name, func(m *member) {
		m.rate = nil
		if bits > 0 {
			r := &rate{perSecond: float64(bits) / 8, depth: float64(burst), at: s.waker.clock()}
			if burst == 0 {
				r.depth = max(r.perSecond/100, MaxFrame)
			}
			r.left = r.depth
			m.rate = r
		}
		s.sort()
	})
}

// ready reports whether frames may come, or when.
func (r *rate) ready(now int64) (ok bool, when int64) {
	r.left = math.Min(r.depth, r.left+float64(now-r.at)*r.perSecond/float64(time.Second))
	r.at = now
	if r.left > 0 {
		return true, 0
	}
	return false, now + int64((1-r.left)/r.perSecond*float64(time.Second)) + 1
}

// most returns how many of the frames may be taken together, so that a port at a low rate does not come in great bursts.
func (r *rate) most() int { return int(min(max(r.left/(64+frameCost), 1), MaxBatch)) }

func (r *rate) take(frames []Frame) {
	for i := range frames {
		r.left -= float64(len(frames[i].Data) + frameCost)
	}
}
