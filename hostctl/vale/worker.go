package vale

import (
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// pace decides how long to look at ports in vain before sleeping. To be woken up costs some ten microseconds and a system
// call of whoever does it, to look in vain costs a CPU that somebody else may need. So it follows what would have been right:
// patience grows while frames come soon after the switch went to sleep, and goes down to nothing when they do not.
type pace struct {
	rounds, yields, sleeps uint64
	idle                   bool
	since                  int64 // the clock when idle began, in nanoseconds
	patience               int64 // how long to be idle, in nanoseconds
}

const (
	minPatience = int64(5 * time.Microsecond) // less is none
	maxPatience = int64(200 * time.Microsecond)
	soon        = int64(100 * time.Microsecond) // a sleep that was not worth it
)

// slept judges a sleep of d nanoseconds.
func (p *pace) slept(d int64) {
	switch {
	case d < soon:
		p.patience = min(max(2*p.patience, minPatience), maxPatience)
	case p.patience > minPatience:
		p.patience /= 2
	default:
		p.patience = 0
	}
}

// run is the worker. Its thread is never unlocked, so it ends with the goroutine, and what was changed about it too.
func (s *Switch) run() {
	runtime.LockOSThread()
	s.pin()
	debug.SetPanicOnFault(true) // of this goroutine only
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.bury()
	for !s.closed {
		for s.want.Load() > 0 {
			s.calm.Wait()
		}
		if !s.closed {
			s.work()
		}
	}
}

// pin moves the thread to the CPU that was asked for.
func (s *Switch) pin() {
	if s.opt.CPU <= 0 {
		return
	}
	var set unix.CPUSet
	set.Set(s.opt.CPU - 1)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		s.opt.Logf("switch runs on any CPU: not on %d: %v", s.opt.CPU-1, err)
	}
}

// work goes on until somebody wants the switch.
func (s *Switch) work() {
	for s.want.Load() == 0 && !s.closed {
		if s.round() > 0 {
			s.pace.idle = false
			continue
		}
		s.rest()
	}
}

// rest passes the time after a round that moved nothing: the first quarter of it spinning, so that answers are found at
// once, the rest giving way to others.
func (s *Switch) rest() {
	p, now := &s.pace, s.waker.clock()
	if !p.idle {
		p.idle, p.since = true, now
	}
	switch idle := now - p.since; {
	case idle >= p.patience:
		s.sleep()
	case idle >= p.patience/4:
		p.yields++
		_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // runtime.Gosched is 40 times as slow in a locked thread
	}
}

// sleep arms all ports and sleeps, unless there is something to do already.
func (s *Switch) sleep() {
	w, p := s.waker, &s.pace
	w.asleep.Store(true)
	defer w.asleep.Store(false)
	p.idle = false
	for _, m := range s.members {
		if s.callArm(m) {
			return
		}
	}
	if s.want.Load() > 0 || s.failed != nil {
		return
	}
	p.sleeps++
	s.mu.Unlock()
	before := w.clock()
	w.sleep()
	after := w.clock()
	s.mu.Lock()
	p.rounds += clockRounds - p.rounds%clockRounds - 1 // the next round looks at the clock
	if s.spins {
		p.slept(after - before)
	}
}
