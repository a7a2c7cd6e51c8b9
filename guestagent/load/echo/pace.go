package echo

import (
	"context"
	"errors"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// fine is the time before a send that is slept away with the kernel's precise clock: Go's timers are late by up to a
// millisecond.
const fine = 2 * time.Millisecond

// maxBehind is how many intervals a sender that was held up may catch up without a pause.
const maxBehind = 16

// send makes the attempts, paced or as a flood.
func (r *run) send(ctx context.Context) {
	r.mu.Lock()
	r.start = time.Now()
	r.mu.Unlock()
	if r.o.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.o.Duration)
		defer cancel()
	}
	if r.o.Flood {
		r.flood(ctx)
		return
	}
	precise(func() { r.paced(ctx) })
}

// precise runs f on a thread of its own whose sleeps are not rounded for the sake of power.
func precise(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, and its slack with it
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		f()
	}()
	<-done
}

func (r *run) paced(ctx context.Context) {
	next, last := time.Now(), time.Time{}
	for n := int64(0); (r.o.Count <= 0 || n < r.o.Count) && ctx.Err() == nil; n++ {
		if n > 0 {
			next = next.Add(r.o.Interval)
			if late := time.Since(next); late > maxBehind*r.o.Interval {
				next = next.Add(late) // what was held up for long is not made up for in a burst
			}
			if !sleepUntil(ctx, next) || !r.hold(ctx, last) {
				return
			}
		}
		last = time.Now()
		r.sendOne()
	}
}

// hold waits, as ping(8) does, while Preload requests have no reply yet, but not for longer than floodGap after the last
// send. A kernel answers two of the largest requests at a time and drops the others (icmp_sk's send buffer), so that
// short intervals would otherwise measure the round trip and not the link.
func (r *run) hold(ctx context.Context, last time.Time) bool {
	gap := floodGap - time.Since(last)
	if gap <= 0 || r.waiting() < r.o.Preload {
		return true
	}
	t := time.NewTimer(gap)
	defer t.Stop()
	for r.waiting() >= r.o.Preload {
		select {
		case <-r.woken:
		case <-t.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// sleepUntil is false when ctx ended first.
func sleepUntil(ctx context.Context, t time.Time) bool {
	if d := time.Until(t) - fine; d > 0 {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(d):
		}
	}
	for d := time.Until(t); d > 0; d = time.Until(t) {
		ts := unix.NsecToTimespec(int64(d))
		if err := unix.Nanosleep(&ts, nil); err != nil && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	return ctx.Err() == nil
}

// flood sends whenever fewer than Preload requests are outstanding, and every 10 ms whatever is.
func (r *run) flood(ctx context.Context) {
	t := time.NewTimer(floodGap)
	defer t.Stop()
	for n := int64(0); (r.o.Count <= 0 || n < r.o.Count) && ctx.Err() == nil; n++ {
		r.sendOne()
		t.Reset(floodGap)
		for full := r.waiting() >= r.o.Preload; full; full = full && r.waiting() >= r.o.Preload {
			select {
			case <-r.woken:
			case <-t.C:
				full = false
			case <-ctx.Done():
				return
			}
		}
	}
}
