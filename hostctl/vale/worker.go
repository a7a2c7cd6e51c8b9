package vale

import (
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// pace decides how long to look at ports in vain before sleeping.
type pace struct {
	rounds, yields, sleeps uint64
	idle                   int // rounds in a row that moved nothing
}

const (
	spinRounds  = 64 // before yielding
	yieldRounds = 64 // before sleeping
)

// run is the worker.
func (s *Switch) run() {
	runtime.LockOSThread()
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

// work goes on until somebody wants the switch.
func (s *Switch) work() {
	for s.want.Load() == 0 {
		if s.round() > 0 {
			s.pace.idle = 0
			continue
		}
		s.rest()
	}
}

// rest passes the time after a round that moved nothing.
func (s *Switch) rest() {
	s.pace.idle++
	switch {
	case s.pace.idle < spinRounds:
	case s.pace.idle < spinRounds+yieldRounds:
		s.pace.yields++
		_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // runtime.Gosched is 40 times as slow in a locked thread
	default:
		s.sleep()
		s.pace.idle = 0
	}
}

// sleep arms all ports and sleeps, unless there is something to do already.
func (s *Switch) sleep() {
	w := s.waker
	w.deadline = never
	w.asleep.Store(true)
	defer w.asleep.Store(false)
	for _, m := range s.members {
		if s.callArm(m) {
			return
		}
	}
	if s.want.Load() > 0 {
		return
	}
	s.pace.sleeps++
	s.mu.Unlock()
	w.sleep()
	s.mu.Lock()
}
