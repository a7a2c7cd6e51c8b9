package pktgen

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Counters are what a thread did so far.
type Counters struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	Events  uint64 `json:"events"` // batches
}

func (c *Counters) add(o Counters) {
	c.Packets += o.Packets
	c.Bytes += o.Bytes
	c.Events += o.Events
}

// shared are Counters that one thread writes and another reads, on a cache line of their own.
type shared struct {
	packets, bytes, events atomic.Uint64
	_                      [40]byte
}

func (s *shared) store(c Counters) {
	s.packets.Store(c.Packets)
	s.bytes.Store(c.Bytes)
	s.events.Store(c.Events)
}

func (s *shared) load() Counters {
	return Counters{Packets: s.packets.Load(), Bytes: s.bytes.Load(), Events: s.events.Load()}
}

// worker is one thread.
type worker struct {
	c      *Config
	queues []Queue
	wait   *waiter
	source source
	pace   *pacer
	frames [][]byte // a batch

	limit  uint64 // frames to send or receive; 0 is no end
	now    Counters
	shared shared
	stop   *atomic.Bool

	sequence tracker
	trips    *trips

	moved    time.Time // when a frame last moved
	tic, toc time.Time
}

// stopped says whether the run has been called off.
func (w *worker) stopped() bool { return w.stop.Load() }

// left is how many of at most n frames may still go.
func (w *worker) left(n int) int {
	if w.limit > 0 && w.limit-w.now.Packets < uint64(n) {
		return int(w.limit - w.now.Packets)
	}
	return n
}

func (w *worker) done() bool { return w.stopped() || w.left(1) == 0 }

// count adds a batch.
func (w *worker) count(packets, bytes int) {
	if packets == 0 {
		return
	}
	w.now.add(Counters{Packets: uint64(packets), Bytes: uint64(bytes), Events: 1})
	w.shared.store(w.now)
	w.moved = time.Now()
}

// run is the thread.
func (w *worker) run() (err error) {
	w.tic = time.Now()
	w.moved, w.toc = w.tic, w.tic
	switch w.c.Function {
	case Ping:
		err = w.ping()
	case Pong:
		err = w.pong()
	case Tx, TxSeq:
		err = w.send()
	default:
		err = w.receive()
	}
	w.shared.store(w.now)
	return err
}

// spin is how long a queue that has to be asked is asked again at once: a sleep takes longer than a peer on another CPU
// needs to empty a ring.
const spin = 100 * time.Microsecond

// idle waits because nothing moved. After a while of that it asks whether the link is still up.
func (w *worker) idle(events int16) error {
	if w.wait.asked && time.Since(w.moved) < spin {
		_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // somebody else may need this CPU to get on
		return nil
	}
	if err := w.wait.wait(events, pollSlice); err != nil {
		return err
	}
	if time.Since(w.moved) > patience {
		w.moved = time.Now()
		return w.wait.check()
	}
	return nil
}
