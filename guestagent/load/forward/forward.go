// Package forward sends the frames of one port on by another, or back, in the ways of DPDK's testpmd: io as they are,
// macswap with their Ethernet addresses swapped, and mac with new ones. Frames that find no room are dropped and counted.
package forward

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"picolab/guestagent/load/pktgen"
)

// Mode is what is done to a frame.
type Mode string

// Modes.
const (
	IO      Mode = "io"
	MAC     Mode = "mac"
	MACSwap Mode = "macswap"
)

// Config is a run.
type Config struct {
	Mode        Mode
	Burst       int
	Count       uint64  // frames, after which it ends; 0 is no end
	Destination [6]byte // of frames in mode mac
	Interval    time.Duration
}

// Counters are what was done.
type Counters struct {
	Received uint64 `json:"received"`
	Sent     uint64 `json:"sent"`
	Dropped  uint64 `json:"dropped"`
}

// path is one direction.
type path struct {
	c        *Config
	from, to pktgen.Queue
	source   [6]byte // of the port behind to
	in, out  [][]byte
	events   []unix.PollFd

	received, sent, dropped atomic.Uint64
	stop                    *atomic.Bool
}

// Run forwards between two ports in both directions, or from a port back to itself when b is nil, until ctx ends, which
// is no error, or Count frames were sent.
func Run(ctx context.Context, c Config, a, b pktgen.Port, report func(Counters)) (Counters, error) {
	paths, stop := newPaths(&c, a, b)
	defer context.AfterFunc(ctx, func() { stop.Store(true) })()
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = loop(paths, stop)
	}()
	watch(paths, c.Interval, report, done)
	return sum(paths), err
}

// newPaths pairs the queues: each is the end of one path, and the begin of another.
func newPaths(c *Config, a, b pktgen.Port) ([]*path, *atomic.Bool) {
	stop := new(atomic.Bool)
	var paths []*path
	add := func(from, to pktgen.Port) {
		out := to.Queues()
		for i, q := range from.Queues() {
			p := &path{c: c, from: q, to: out[i%len(out)], source: to.Hardware(), stop: stop}
			p.in, p.out = make([][]byte, c.Burst), make([][]byte, c.Burst)
			p.events = []unix.PollFd{{Fd: int32(q.Descriptor()), Events: unix.POLLIN}}
			paths = append(paths, p)
		}
	}
	if b == nil {
		add(a, a)
	} else {
		add(a, b)
		add(b, a)
	}
	return paths, stop
}

// loop serves all paths in turn until stop: each queue may be used by one goroutine only.
func loop(paths []*path, stop *atomic.Bool) error {
	for idle := 0; !stop.Load(); idle++ {
		moved, err := round(paths)
		if err != nil {
			return err
		}
		if moved > 0 {
			idle = 0
			continue
		}
		if idle > spins {
			if err := wait(paths); err != nil {
				return err
			}
		}
	}
	return flush(paths)
}

func round(paths []*path) (moved int, err error) {
	for _, p := range paths {
		n, err := p.batch()
		if err != nil {
			return moved, err
		}
		moved += n
	}
	return moved, nil
}

const (
	spins    = 50                     // rounds without a frame before the thread sleeps
	slice    = 100 * time.Millisecond // of sleep, after which it looks whether it shall end
	askEvery = 50 * time.Microsecond  // of ports without a descriptor
)

// wait returns when there may be frames. When there are none it asks whether the links are still there.
func wait(paths []*path) error {
	fds := make([]unix.PollFd, 0, 8)
	for _, p := range paths {
		if p.events[0].Fd < 0 {
			time.Sleep(askEvery)
			return nil
		}
		fds = append(fds, p.events[0])
	}
	n, err := unix.Poll(fds, int(slice.Milliseconds()))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("poll: %w", err)
	}
	for i, p := range paths {
		if n > 0 && fds[i].Revents&(unix.POLLERR|unix.POLLHUP) == 0 {
			continue
		}
		if c, ok := p.from.(pktgen.Checker); ok {
			if err := c.Check(); err != nil {
				return err
			}
		}
	}
	return nil
}

// batch moves what has come, and returns how many frames that were.
func (p *path) batch() (int, error) {
	n, err := p.from.Receive(p.in)
	if err != nil || n == 0 {
		return 0, err
	}
	room, err := p.to.Reserve(p.out[:n])
	if err != nil {
		return n, err
	}
	sent := 0
	for _, f := range p.in[:n] {
		if sent < room && len(f) <= len(p.out[sent]) {
			p.out[sent] = p.out[sent][:copy(p.out[sent], f)]
			p.change(p.out[sent])
			sent++
		}
	}
	if sent > 0 {
		err = p.to.Send(p.out[:sent])
	}
	p.received.Add(uint64(n))
	p.sent.Add(uint64(sent))
	p.dropped.Add(uint64(n - sent))
	if p.c.Count > 0 && p.sent.Load() >= p.c.Count {
		p.stop.Store(true)
	}
	return n, errors.Join(err, p.from.Release())
}

// change does to a frame what the mode says.
func (p *path) change(f []byte) {
	switch {
	case len(f) < 12 || p.c.Mode == IO:
	case p.c.Mode == MACSwap:
		pktgen.SwapMACs(f)
	default:
		copy(f, p.c.Destination[:])
		copy(f[6:], p.source[:])
	}
}

// flush lets the last frames go. Those that do not within a second are dropped.
func flush(paths []*path) error {
	var failed error
	for _, p := range paths {
		pending, err := p.to.Flush()
		for deadline := time.Now().Add(time.Second); err == nil && pending > 0 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
			pending, err = p.to.Flush()
		}
		p.sent.Add(-uint64(pending))
		p.dropped.Add(uint64(pending))
		failed = errors.Join(failed, err)
	}
	return failed
}

func watch(paths []*path, every time.Duration, report func(Counters), done <-chan struct{}) {
	if report == nil || every <= 0 {
		<-done
		return
	}
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for before := (Counters{}); ; {
		select {
		case <-done:
			return
		case <-ticks.C:
			now := sum(paths)
			report(Counters{now.Received - before.Received, now.Sent - before.Sent, now.Dropped - before.Dropped})
			before = now
		}
	}
}

func sum(paths []*path) (c Counters) {
	for _, p := range paths {
		c.Received += p.received.Load()
		c.Sent += p.sent.Load()
		c.Dropped += p.dropped.Load()
	}
	return c
}
