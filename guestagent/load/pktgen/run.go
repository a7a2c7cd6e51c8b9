package pktgen

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Interval is what happened since the last report.
type Interval struct {
	Counters
	Elapsed time.Duration `json:"elapsed_ns"`
	Times   *Times        `json:"rtt,omitempty"` // of ping
}

// Result is what happened in all.
type Result struct {
	Counters
	Elapsed  time.Duration `json:"elapsed_ns"` // from the first frame to the last
	CPU      time.Duration `json:"cpu_ns"`     // of this process, in user and system mode
	Dropped  uint64        `json:"dropped"`    // came, and found no room
	Sequence *Sequence     `json:"sequence,omitempty"`
	Times    *Times        `json:"rtt,omitempty"`
}

// Run does what c says on a port until it is done or ctx ends, which is no error. report, unless nil, is told of each
// interval. An error of the port ends the run; the result holds until then.
func Run(ctx context.Context, port Port, c Config, report func(Interval)) (Result, error) {
	if err := c.Check(); err != nil {
		return Result{}, err
	}
	var stop atomic.Bool
	defer context.AfterFunc(ctx, func() { stop.Store(true) })()
	workers := newWorkers(port, &c, &stop)
	before := cpuTime()
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = runAll(workers, &stop)
	}()
	watch(workers, c.Interval, report, done)
	r := collect(workers)
	r.CPU = cpuTime() - before
	if err != nil {
		err = fmt.Errorf("%s: %w", c.Function, err)
	}
	return r, err
}

// newWorkers deals the queues out to the threads, in turn, and the frames.
func newWorkers(port Port, c *Config, stop *atomic.Bool) []*worker {
	queues, burst := port.Queues(), c.burst()
	if c.Replay.Times != nil {
		burst = 1 // each has its time
	}
	n := max(min(c.Threads, len(queues)), 1)
	workers := make([]*worker, n)
	for i := range workers {
		w := &worker{c: c, stop: stop, frames: make([][]byte, c.burst()), pace: newPacer(share(c.Rate, i, n), burst)}
		for q := i; q < len(queues); q += n {
			w.queues = append(w.queues, queues[q])
		}
		w.wait = newWaiter(w.queues)
		w.limit = uint64(share(int(c.Count), i, n))
		if c.Function == Ping {
			w.trips = &trips{}
		}
		w.source = newSource(c, i, n)
		workers[i] = w
	}
	return workers
}

// share is a part of a whole that is dealt out to n.
func share(whole, i, n int) int {
	part := whole / n
	if i < whole%n {
		part++
	}
	return part
}

func newSource(c *Config, i, n int) source {
	switch {
	case len(c.Replay.Frames) > 0:
		return newReplayer(&c.Replay, i, n)
	case c.Rubbish:
		return rubbish{c.Size}
	case c.Function.sends():
		return newGenerator(c, i)
	}
	return nil
}

// runAll runs the threads; an error of one ends all.
func runAll(workers []*worker, stop *atomic.Bool) error {
	var g errgroup.Group
	for i, w := range workers {
		cpu := -1
		if w.c.CPU >= 0 {
			cpu = (w.c.CPU + i) % max(w.c.CPUs, 1)
			if w.c.CPUs <= w.c.CPU {
				cpu = w.c.CPU + i
			}
		}
		if w.limit == 0 && w.c.Count > 0 {
			continue // there are more threads than frames
		}
		g.Go(func() error {
			err := dedicate(cpu)
			if err == nil {
				err = w.run()
			}
			if err != nil {
				stop.Store(true)
			}
			return err
		})
	}
	return g.Wait()
}

// watch reports until done.
func watch(workers []*worker, every time.Duration, report func(Interval), done <-chan struct{}) {
	if report == nil || every <= 0 {
		<-done
		return
	}
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	before, last := Counters{}, time.Now()
	for {
		select {
		case <-done:
			return
		case <-ticks.C:
		}
		now, at := sum(workers), time.Now()
		i := Interval{Counters: minus(now, before), Elapsed: at.Sub(last)}
		if t := workers[0].trips; t != nil {
			i.Times = t.take()
		}
		report(i)
		before, last = now, at
	}
}

func sum(workers []*worker) Counters {
	var c Counters
	for _, w := range workers {
		c.add(w.shared.load())
	}
	return c
}

func minus(a, b Counters) Counters {
	return Counters{Packets: a.Packets - b.Packets, Bytes: a.Bytes - b.Bytes, Events: a.Events - b.Events}
}

// collect puts the threads' results together.
func collect(workers []*worker) Result {
	r := Result{Counters: sum(workers)}
	var tic, toc time.Time
	for _, w := range workers {
		if w.now.Packets > 0 && (tic.IsZero() || w.tic.Before(tic)) {
			tic = w.tic
		}
		if w.toc.After(toc) {
			toc = w.toc
		}
		r.Dropped += dropped(w.queues)
	}
	if !tic.IsZero() {
		r.Elapsed = toc.Sub(tic)
	}
	first := workers[0]
	if first.c.Function == RxSeq {
		r.Sequence = new(Sequence)
		for _, w := range workers {
			r.Sequence.add(w.sequence.Sequence)
		}
	}
	if first.trips != nil {
		r.Times = first.trips.total()
	}
	return r
}

func dropped(queues []Queue) (n uint64) {
	for _, q := range queues {
		if d, ok := q.(Dropper); ok {
			k, _ := d.Dropped()
			n += k
		}
	}
	return n
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
