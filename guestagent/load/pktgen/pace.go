package pktgen

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// catchUp is how much a sender that was held up makes up for: more would be a burst that nobody asked for.
const catchUp = 100 * time.Millisecond

// pacer keeps a mean rate by the time since the start, so that late wake-ups do not add up.
type pacer struct {
	rate  float64 // frames per second; 0 is no limit
	start time.Time
	sent  float64
	burst int
}

// newPacer follows the original: bursts are at most a 300th of a second's frames, and at least one.
func newPacer(rate, burst int) *pacer {
	if rate > 0 {
		burst = max(min(burst, rate/300), 1)
	}
	return &pacer{rate: float64(rate), burst: burst, start: time.Now()}
}

// wait returns when a burst is due, or early when stop says so.
func (p *pacer) wait(stop func() bool) {
	if p.rate == 0 {
		return
	}
	due := p.start.Add(time.Duration(p.sent / p.rate * 1e9))
	late := time.Since(due)
	if late > catchUp {
		p.start = p.start.Add(late - catchUp)
	}
	for late < 0 && !stop() {
		nanosleep(min(-late, pollSlice))
		late = time.Since(due)
	}
}

func (p *pacer) count(n int) { p.sent += float64(n) }

// nanosleep is more exact than the runtime's timers, at the cost of the thread.
func nanosleep(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&ts, nil) // a signal that ends it early is as good
}

// dedicate gives the goroutine a thread of its own, with exact sleeps, on one CPU unless cpu is -1. The thread ends with
// the goroutine, as it is never unlocked.
func dedicate(cpu int) error {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	if cpu < 0 {
		return nil
	}
	var set unix.CPUSet
	set.Set(cpu)
	return unix.SchedSetaffinity(0, &set)
}
