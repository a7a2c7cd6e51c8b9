// Package echo sends ICMP echo requests (RFC 792, IPv4) and judges the replies: loss after a final wait, duplicates,
// replies whose bytes differ, round trips. It takes a raw socket, or a ping socket (icmp(7)) where raw ones are not
// allowed.
package echo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"picolab/guestagent/load/histogram"
)

const (
	// defaultInterval is ping(8)'s.
	defaultInterval = time.Second
	// floodGap is the longest pause of a flood in which no reply comes, as in ping -f.
	floodGap = 10 * time.Millisecond
	// defaultWait is the shortest wait for the last replies.
	defaultWait = time.Second
	// headerLen is an ICMP echo header's length.
	headerLen = 8
)

// Options describes a run. It ends with Count, Duration or its context, whichever comes first.
type Options struct {
	Target       netip.Addr
	Source       netip.Addr // zero: by route
	Link         string     // "" = by route
	Size         int        // payload bytes, 0..65535
	Count        int64      // 0 = no limit
	Duration     time.Duration
	Interval     time.Duration // 0 = 1 s
	Flood        bool
	Preload      int // flood: so many outstanding; 0 = 1
	DontFragment bool
	Wait         time.Duration // for the last replies; 0 = one second, or twice the longest round trip
	TTL          int           // 0 = the kernel's
}

// ErrOptions is a run that cannot be.
var ErrOptions = errors.New("ping")

// Result is what came of a run. Sent counts attempts.
type Result struct {
	Sent, Received, Refused int64
	RefusedError            error // of the first refusal
	Duplicates, Corrupt     int64
	Late, Unreachable       int64
	RTT                     histogram.Histogram
	Elapsed                 time.Duration // first send to last
	WireBytes               int64         // IP bytes handed to the kernel
}

// AchievedInterval is the mean distance of two sends.
func (r *Result) AchievedInterval() time.Duration {
	if r.Sent < 2 {
		return 0
	}
	return r.Elapsed / time.Duration(r.Sent-1)
}

// Run sends and waits for the replies. A context that ends stops the sending; the figures so far are the result.
func Run(ctx context.Context, o Options) (*Result, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s, err := dial(o)
	if err != nil {
		return nil, err
	}
	r := &run{o: o, s: s, payload: newPattern(o.Size), woken: make(chan struct{}, 1)}
	var receiving sync.WaitGroup
	receiving.Go(r.receive)
	r.send(ctx)
	r.linger(ctx)
	s.close()
	receiving.Wait()
	return &r.res, nil
}

func (o *Options) check() error {
	switch {
	case !o.Target.Is4():
		return fmt.Errorf("%w: target is not an IPv4 address", ErrOptions)
	case o.Size < 0 || o.Size > 65535:
		return fmt.Errorf("%w: size not in 0..65535", ErrOptions)
	case o.Count <= 0 && o.Duration <= 0:
		return fmt.Errorf("%w: neither count nor duration", ErrOptions)
	}
	if o.Interval <= 0 {
		o.Interval = defaultInterval
	}
	o.Preload = min(max(o.Preload, 1), 1<<15) // sequence numbers are 16 bits wide
	return nil
}

// run is one run's state.
type run struct {
	o       Options
	s       *socket
	payload *pattern
	woken   chan struct{} // a reply came

	mu          sync.Mutex // all below
	res         Result
	slots       [1 << 16]slot
	outstanding int
	start       time.Time
}

// slot is the latest request with a sequence number.
type slot struct {
	n       int64 // 1 + its serial number; 0 = none yet
	at      time.Duration
	waiting bool
}

// sendOne makes one attempt.
func (r *run) sendOne() {
	r.mu.Lock()
	n := r.res.Sent
	r.res.Sent++
	now := time.Since(r.start)
	r.res.Elapsed = now
	sl := &r.slots[uint16(n)]
	if sl.waiting {
		r.outstanding-- // 65536 requests ago: lost
	}
	*sl = slot{n: n + 1, at: now, waiting: true}
	r.outstanding++
	r.mu.Unlock()
	if err := r.s.send(uint16(n), r.payload.of(n)); err != nil {
		r.refused(n, err)
		return
	}
	r.mu.Lock()
	r.res.WireBytes += int64(20 + headerLen + r.o.Size)
	r.mu.Unlock()
}

func (r *run) refused(n int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.res.Refused++
	if r.res.RefusedError == nil {
		r.res.RefusedError = err
	}
	if sl := &r.slots[uint16(n)]; sl.waiting && sl.n == n+1 {
		sl.waiting = false
		r.outstanding--
	}
}

// receive judges packets until the socket is closed.
func (r *run) receive() {
	buf := make([]byte, 1<<17)
	for {
		m, err := r.s.receive(buf)
		switch {
		case err == nil:
			r.judge(m)
		case errors.Is(err, errNotOurs), isPending(err):
		default:
			return
		}
		select {
		case r.woken <- struct{}{}:
		default:
		}
	}
}

// isPending says whether an error of a read is an ICMP error about an earlier send.
func isPending(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && errno != syscall.EBADF && errno != syscall.EINVAL
}

// judge counts one reply or error.
func (r *run) judge(m message) {
	now := time.Since(r.started())
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.unreachable {
		r.res.Unreachable++
		return
	}
	sl := &r.slots[m.seq]
	switch {
	case sl.n == 0:
		return // never asked
	case !m.intact || !r.payload.is(m.payload, sl.n-1):
		r.mismatch(m, sl)
	case !sl.waiting:
		r.res.Duplicates++
	default:
		sl.waiting = false
		r.outstanding--
		r.res.Received++
		r.res.RTT.Add(now - sl.at)
	}
}

// mismatch tells a reply to an older request with the same sequence number from a damaged one.
func (r *run) mismatch(m message, sl *slot) {
	if old, ok := r.payload.serial(m.payload); m.intact && ok && old < sl.n-1 && uint16(old) == m.seq && r.payload.is(m.payload, old) {
		r.res.Late++
		return
	}
	r.res.Corrupt++
	if sl.waiting {
		sl.waiting = false // answered, though wrongly
		r.outstanding--
	}
}

func (r *run) started() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.start
}

func (r *run) waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.outstanding
}

// linger waits for the replies that are still to come.
func (r *run) linger(ctx context.Context) {
	r.mu.Lock()
	wait := r.o.Wait
	if wait <= 0 {
		wait = max(defaultWait, 2*r.res.RTT.Max())
	}
	r.mu.Unlock()
	t := time.NewTimer(wait)
	defer t.Stop()
	for r.waiting() > 0 && ctx.Err() == nil {
		select {
		case <-r.woken:
		case <-t.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
