package pktgen

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"picolab/guestagent/load/histogram"
)

// Times are round trips.
type Times struct {
	Count uint64        `json:"count"`
	Min   time.Duration `json:"min_ns"`
	Mean  time.Duration `json:"mean_ns"`
	P50   time.Duration `json:"p50_ns"`
	P90   time.Duration `json:"p90_ns"`
	P99   time.Duration `json:"p99_ns"`
	P999  time.Duration `json:"p99_9_ns"`
	Max   time.Duration `json:"max_ns"`
	// Buckets counts trips of 2^k ns and up to twice that, from the k of FirstBucket.
	Buckets     []uint64 `json:"buckets,omitempty"`
	FirstBucket int      `json:"first_bucket,omitempty"`
}

// trips gathers round trips, for a report at a time and for all.
type trips struct {
	mu        sync.Mutex
	now, all  histogram.Histogram
	powersNow powers
}

// powers counts by powers of two, as the original prints.
type powers [64]uint64

func (t *trips) add(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Add(d)
	t.all.Add(d)
	t.powersNow[log2(d)]++
}

func log2(d time.Duration) int {
	k := 0
	for ; d > 1; d >>= 1 {
		k++
	}
	return k
}

// take returns the times since the last take.
func (t *trips) take() *Times {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := times(&t.now)
	first, last := 0, len(t.powersNow)-1
	for first < last && t.powersNow[first] == 0 {
		first++
	}
	for last > first && t.powersNow[last] == 0 {
		last--
	}
	out.FirstBucket, out.Buckets = first, append([]uint64{}, t.powersNow[first:last+1]...)
	t.now, t.powersNow = histogram.Histogram{}, powers{}
	return out
}

func (t *trips) total() *Times { return times(&t.all) }

func times(h *histogram.Histogram) *Times {
	return &Times{
		Count: h.Count(), Min: h.Min(), Mean: h.Mean(), Max: h.Max(),
		P50: h.Percentile(50), P90: h.Percentile(90), P99: h.Percentile(99), P999: h.Percentile(99.9),
	}
}

// replyTime is how long ping waits for the replies to a burst before it sends the next.
const replyTime = time.Second

// ping sends bursts and waits for their replies.
func (w *worker) ping() error {
	g := newGenerator(w.c, 0)
	t := newTemplate(&g.headers, w.c.Size)
	epoch := time.Now().Add(-time.Second) // a reply never seems to be from before it
	w.pace.start = time.Now()
	for !w.done() {
		w.pace.wait(w.stopped)
		n, err := w.pingBurst(t, epoch)
		if err != nil {
			return err
		}
		w.pace.count(n)
		if err := w.collect(n, epoch); err != nil {
			return err
		}
	}
	w.toc = time.Now()
	return nil
}

// pingBurst sends frames with numbers from the count of those before.
func (w *worker) pingBurst(t *template, epoch time.Time) (int, error) {
	q := w.queues[0]
	n, err := q.Reserve(w.frames[:w.left(w.pace.burst)])
	if err != nil || n == 0 {
		return 0, err
	}
	for i, f := range w.frames[:n] {
		d := time.Since(epoch)
		t.stamp(uint32(w.now.Packets)+uint32(i), uint32(d/time.Second), uint32(d%time.Second))
		w.frames[i] = f[:copy(f, t.frame)]
	}
	if w.c.Dump != nil {
		w.dump(n)
	}
	err = q.Send(w.frames[:n])
	w.count(n, n*len(t.frame))
	return n, err
}

// collect takes n replies, or gives up.
func (w *worker) collect(n int, epoch time.Time) error {
	for deadline := time.Now().Add(replyTime); n > 0 && !w.stopped() && time.Now().Before(deadline); {
		got, err := w.replies(epoch)
		if err != nil {
			return err
		}
		if n -= got; n <= 0 {
			break
		}
		if _, err := w.queues[0].Flush(); err != nil {
			return err
		}
		if err := w.idle(unix.POLLIN); err != nil {
			return err
		}
	}
	return nil
}

// replies counts the replies that are there.
func (w *worker) replies(epoch time.Time) (int, error) {
	got := 0
	for _, q := range w.queues {
		n, err := q.Receive(w.frames)
		if err != nil {
			return got, err
		}
		for _, f := range w.frames[:n] {
			if w.reply(f, time.Since(epoch)) {
				got++
			}
		}
		if err := q.Release(); err != nil {
			return got, err
		}
	}
	return got, nil
}

// reply times a frame if it answers one of ours.
func (w *worker) reply(frame []byte, now time.Duration) bool {
	d, ok := parse(frame)
	if !ok {
		return false
	}
	seq, sec, nsec, ok := readStamp(d.payload())
	trip := now - time.Duration(sec)*time.Second - time.Duration(nsec)
	if unsent := w.now.Packets>>32 == 0 && uint64(seq) >= w.now.Packets; !ok || unsent || trip < 0 || trip > time.Hour {
		return false
	}
	w.trips.add(trip)
	return true
}

// pong sends frames back with their addresses swapped.
func (w *worker) pong() error {
	q := w.queues[0]
	replies := make([][]byte, len(w.frames))
	for !w.done() {
		n, err := w.pongBatch(q, replies)
		if err != nil {
			return err
		}
		if n == 0 {
			if err := w.idle(unix.POLLIN); err != nil {
				return err
			}
		}
	}
	w.toc = time.Now()
	return w.flush()
}

func (w *worker) pongBatch(q Queue, replies [][]byte) (int, error) {
	n, err := q.Receive(w.frames)
	if err != nil || n == 0 {
		return 0, err
	}
	room, err := q.Reserve(replies[:w.left(n)])
	if err != nil {
		return 0, err
	}
	sent, bytes := 0, 0
	for _, f := range w.frames[:n] {
		if sent < room && answerable(f) {
			replies[sent] = replies[sent][:copy(replies[sent], f)]
			SwapAddresses(replies[sent])
			bytes += len(replies[sent])
			sent++
		}
	}
	if sent > 0 {
		err = q.Send(replies[:sent])
		w.count(sent, bytes)
	}
	if e := q.Release(); err == nil {
		err = e
	}
	return n, err
}
