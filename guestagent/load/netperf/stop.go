package netperf

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// stopper ends the data transfer of one test: when its time is up, or at once when its context ends. It interrupts
// the socket it guards, so that calls may block for ever.
type stopper struct {
	ctx     context.Context
	expired atomic.Bool // time is up, or the context ended
	mu      sync.Mutex
	guarded interrupter
	how     int // of the interrupt when time is up; noInterrupt leaves the calls be
	at      time.Time
	aborted bool
	timers  []*time.Timer
	unhook  func() bool
}

// errStalled says that a transfer did not end though its time was up.
var errStalled = errors.New("data connection stalled: the peer neither reads nor ends it")

const noInterrupt = -1

// interrupter is a socket, or the one of several that there is. Interrupt shuts it down (unix.SHUT_RD, ...).
type interrupter interface{ interrupt(how int) }

// newStopper starts to watch ctx. Release it.
func newStopper(ctx context.Context) *stopper {
	s := &stopper{ctx: ctx, how: noInterrupt}
	s.unhook = context.AfterFunc(ctx, func() { s.abort() })
	return s
}

// startClock makes time up after d; 0 is never. A transfer that does not end by itself a grace later is aborted.
func (s *stopper) startClock(d, grace time.Duration) {
	if d <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timers = append(s.timers, time.AfterFunc(d, s.expire), time.AfterFunc(d+grace, s.abort))
}

// guard makes sock the one to interrupt; how is unix.SHUT_RD, SHUT_WR or noInterrupt.
func (s *stopper) guard(sock interrupter, how int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.guarded, s.how = sock, how
	switch {
	case s.aborted:
		sock.interrupt(unix.SHUT_RDWR)
	case s.expired.Load() && how != noInterrupt:
		sock.interrupt(how)
	}
}

func (s *stopper) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expired.Load() {
		return
	}
	s.at = time.Now()
	s.expired.Store(true)
	if s.guarded != nil && s.how != noInterrupt {
		s.guarded.interrupt(s.how)
	}
}

func (s *stopper) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at.IsZero() {
		s.at = time.Now()
	}
	s.aborted = true
	s.expired.Store(true)
	if s.guarded != nil {
		s.guarded.interrupt(unix.SHUT_RDWR)
	}
}

// end is when the transfer ended: now, or when its time was up.
func (s *stopper) end() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.at.IsZero() {
		return s.at
	}
	return time.Now()
}

// err says why a transfer was broken off, nil when it was not.
func (s *stopper) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := context.Cause(s.ctx); err != nil {
		return err
	}
	if s.aborted {
		return errStalled
	}
	return nil
}

// release stops the timers. Their functions may still be running, and do no harm.
func (s *stopper) release() {
	s.unhook()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.timers {
		t.Stop()
	}
	s.guarded = nil
}
