package vale

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Faults are what a bad line does to the frames that go to a port. Chances are from 0 to 1 and each is for itself.
type Faults struct {
	Loss      float64       `json:"loss,omitempty"`
	Duplicate float64       `json:"duplicate,omitempty"`
	Corrupt   float64       `json:"corrupt,omitempty"` // one bit of the frame
	Reorder   float64       `json:"reorder,omitempty"` // swapped with the next frame
	Delay     time.Duration `json:"delay,omitempty"`   // of all frames; they stay in order
	Jitter    time.Duration `json:"jitter,omitempty"`  // up to so much more, which changes the order
	Seed      uint64        `json:"seed,omitempty"`    // the same seed and frames have the same fate
}

const (
	maxLate  = 1000                  // frames on a bad line at any time, as in tc-netem(8); more are lost
	swapWait = 10 * time.Millisecond // how long a frame waits for the next one to swap with
)

// line is a bad line in use.
type line struct {
	faults Faults
	random *rand.Rand
	late   []lateFrame // in order of their time
	swap   []Frame     // at most one, to go after the next
	swapBy int64
	out    []Frame
}

type lateFrame struct {
	due   int64 // by the waker's clock, in nanoseconds
	frame Frame
}

// SetFaults makes a port's line bad, or good with the zero Faults. Frames that are under way are lost.
func (s *Switch) SetFaults(name string, f Faults) error {
	for _, p := range [...]float64{f.Loss, f.Duplicate, f.Corrupt, f.Reorder} {
		if !(p >= 0 && p <= 1) {
			return fmt.Errorf("set faults of port %s: chance %v is not from 0 to 1", name, p)
		}
	}
	if f.Delay < 0 || f.Jitter < 0 {
		return fmt.Errorf("set faults of port %s: negative delay", name)
	}
	return s.change("set faults of", name, func(m *member) {
		m.line = nil
		if f != (Faults{Seed: f.Seed}) {
			m.line = &line{faults: f, random: rand.New(rand.NewPCG(f.Seed, 0))}
		}
		s.sort()
	})
}

func (l *line) chance(p float64) bool { return p > 0 && l.random.Float64() < p }

// carry returns what of the frames arrives now. The result is good until the next call.
func (l *line) carry(frames []Frame, now int64, count *Counters) []Frame {
	l.out = l.out[:0]
	for _, f := range frames {
		if l.chance(l.faults.Loss) {
			count.Faults++
			continue
		}
		if l.chance(l.faults.Corrupt) {
			count.Faults++
			f.Data = l.spoil(f.Data)
		}
		l.pass(f, now, count)
		if l.chance(l.faults.Duplicate) {
			count.Faults++
			l.pass(f, now, count)
		}
	}
	return l.out
}

func (l *line) spoil(data []byte) []byte {
	data = append([]byte(nil), data...)
	data[l.random.IntN(len(data))] ^= 1 << l.random.IntN(8)
	return data
}

// pass puts one frame on its way.
func (l *line) pass(f Frame, now int64, count *Counters) {
	switch {
	case l.faults.Delay+l.faults.Jitter > 0:
		l.delay(f, now, count)
	case len(l.swap) > 0:
		l.out = append(l.out, f, l.swap[0])
		l.swap = l.swap[:0]
	case l.chance(l.faults.Reorder):
		count.Faults++
		l.swap, l.swapBy = append(l.swap, keep(f)), now+int64(swapWait)
	default:
		l.out = append(l.out, f)
	}
}

// keep returns a copy that lasts.
func keep(f Frame) Frame {
	f.Data = append([]byte(nil), f.Data...)
	return f
}

func (l *line) delay(f Frame, now int64, count *Counters) {
	count.Faults++
	if len(l.late) == maxLate {
		return
	}
	due := now + int64(l.faults.Delay)
	if l.faults.Jitter > 0 {
		due += l.random.Int64N(int64(l.faults.Jitter))
	}
	if l.chance(l.faults.Reorder) {
		due = now // as in tc-netem(8): it overtakes
	}
	i := len(l.late)
	for i > 0 && l.late[i-1].due > due {
		i--
	}
	l.late = append(l.late, lateFrame{})
	copy(l.late[i+1:], l.late[i:])
	l.late[i] = lateFrame{due, keep(f)}
}

// arrive returns the late frames whose time has come, at most MaxBatch, and when the next one's is.
func (l *line) arrive(now int64) (frames []Frame, next int64) {
	l.out = l.out[:0]
	n := 0
	for n < len(l.late) && l.late[n].due <= now && n < MaxBatch {
		l.out = append(l.out, l.late[n].frame)
		n++
	}
	l.late = append(l.late[:0], l.late[n:]...)
	if len(l.swap) > 0 && l.swapBy <= now {
		l.out = append(l.out, l.swap[0])
		l.swap = l.swap[:0]
	}
	return l.out, l.next()
}

func (l *line) next() int64 {
	next := int64(never)
	if len(l.late) > 0 {
		next = l.late[0].due
	}
	if len(l.swap) > 0 {
		next = min(next, l.swapBy)
	}
	return next
}
