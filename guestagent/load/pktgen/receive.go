package pktgen

import (
	"time"

	"golang.org/x/sys/unix"
)

// silence is how long nothing must come before a receiver that was asked to end with the traffic ends.
const silence = time.Second

// over says whether the traffic has ended.
func (w *worker) over() bool {
	limit := w.c.Silence
	if limit == 0 {
		limit = silence
	}
	return w.c.UntilSilence && w.now.Packets > 0 && time.Since(w.toc) > limit
}

// receive is the thread of rx and rxseq.
func (w *worker) receive() error {
	for !w.done() {
		n, err := w.receiveRound()
		if err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		if w.over() {
			return nil
		}
		if err := w.idle(unix.POLLIN); err != nil {
			return err
		}
	}
	return nil
}

// receiveRound takes a batch from every queue.
func (w *worker) receiveRound() (int, error) {
	got := 0
	for _, q := range w.queues {
		n, err := w.receiveBatch(q)
		if err != nil {
			return got, err
		}
		got += n
	}
	return got, nil
}

func (w *worker) receiveBatch(q Queue) (int, error) {
	n, err := q.Receive(w.frames[:w.left(w.c.burst())])
	if err != nil || n == 0 {
		return 0, err
	}
	bytes := 0
	for _, f := range w.frames[:n] {
		bytes += len(f)
		if w.c.Function == RxSeq {
			w.sequence.frame(f)
		}
	}
	if w.c.Dump != nil {
		w.dump(n)
	}
	if w.now.Packets == 0 {
		w.tic = time.Now() // waiting for the first frame does not count
	}
	w.count(n, bytes)
	w.toc = w.moved
	return n, q.Release()
}
