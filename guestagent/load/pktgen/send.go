package pktgen

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// send is the thread of tx and txseq.
func (w *worker) send() error {
	w.pace.start = time.Now()
	err := w.sendAll()
	if ferr := w.flush(); err == nil {
		err = ferr
	}
	for _, q := range w.queues {
		if l, ok := q.(Loser); ok {
			w.uncount(int(l.Lost()))
		}
	}
	w.toc = time.Now()
	return err
}

func (w *worker) sendAll() error {
	for !w.done() {
		w.pace.wait(w.stopped)
		n, err := w.sendRound()
		if err != nil || n < 0 {
			return err
		}
		w.pace.count(n)
		if n > 0 {
			continue
		}
		if err := w.idle(unix.POLLOUT); err != nil {
			return err
		}
	}
	return nil
}

// sendRound sends a batch on every queue, as much as the pace allows in all, and returns how many frames that were, -1
// at the end of a replay.
func (w *worker) sendRound() (int, error) {
	sent := 0
	for _, q := range w.queues {
		n, err := w.sendBatch(q, w.left(w.pace.burst))
		if err != nil {
			return sent, err
		}
		if n < 0 {
			return min(sent, -1), nil
		}
		if sent += n; sent > 0 && w.pace.rate > 0 {
			break
		}
	}
	return sent, nil
}

func (w *worker) sendBatch(q Queue, limit int) (int, error) {
	n, err := q.Reserve(w.frames[:limit])
	if err != nil || n == 0 {
		return 0, err
	}
	bytes := 0
	for i, f := range w.frames[:n] {
		size := w.source.next(f)
		if size < 0 {
			n = i
			break
		}
		w.frames[i] = f[:size]
		bytes += size
	}
	if n == 0 {
		return -1, nil
	}
	if w.c.Dump != nil {
		w.dump(n)
	}
	err = q.Send(w.frames[:n])
	w.count(n, bytes)
	return n, err
}

func (w *worker) dump(n int) {
	for _, f := range w.frames[:n] {
		w.c.Dump(f)
	}
}

// flush waits until all frames have left, for as long as some do, and takes back the count of those that did not.
func (w *worker) flush() error {
	for last, since := -1, time.Now(); ; {
		pending, err := w.pending()
		if pending == 0 {
			return nil
		}
		if pending != last {
			last, since = pending, time.Now()
		}
		if err == nil && (w.stopped() || time.Since(since) > patience) {
			err = fmt.Errorf("%d frames did not leave", pending)
			if w.stopped() {
				err = nil
			}
			w.uncount(pending)
			return err
		}
		if err != nil {
			w.uncount(pending)
			return err
		}
		if err := w.wait.wait(unix.POLLOUT, time.Millisecond); err != nil {
			w.uncount(pending)
			return err
		}
	}
}

// pending is how many frames are still with the queues; an error counts once all of them were asked.
func (w *worker) pending() (n int, err error) {
	for _, q := range w.queues {
		k, e := q.Flush()
		if n += k; e != nil {
			err = e
		}
	}
	return n, err
}

// uncount takes back frames, of the mean length.
func (w *worker) uncount(n int) {
	if w.now.Packets == 0 {
		return
	}
	w.now.Bytes -= w.now.Bytes / w.now.Packets * uint64(n)
	w.now.Packets -= uint64(n)
}
