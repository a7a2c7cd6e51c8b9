package pktgen

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// pollSlice is how long a thread sleeps before it looks whether it shall end.
const pollSlice = 100 * time.Millisecond

// patience is how long nothing may move before a queue is asked whether its link is there.
const patience = 2 * time.Second

// waiter waits for queues.
type waiter struct {
	fds    []unix.PollFd
	asked  bool // some queue has no descriptor
	queues []Queue
}

func newWaiter(queues []Queue) *waiter {
	w := &waiter{queues: queues}
	for _, q := range queues {
		if fd := q.Descriptor(); fd >= 0 {
			w.fds = append(w.fds, unix.PollFd{Fd: int32(fd)})
		} else {
			w.asked = true
		}
	}
	return w
}

// askEvery is how often a queue without a descriptor is asked.
const askEvery = 50 * time.Microsecond

// wait returns when a queue may have what the events tell, after at most d.
func (w *waiter) wait(events int16, d time.Duration) error {
	if w.asked {
		nanosleep(askEvery)
		return nil
	}
	for i := range w.fds {
		w.fds[i].Events, w.fds[i].Revents = events, 0
	}
	ts := unix.NsecToTimespec(int64(d))
	_, err := unix.Ppoll(w.fds, &ts, nil)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("poll: %w", err)
	}
	return w.failed()
}

// failed asks the sockets that poll found in error. EBUSY and the like of a queue show at its next use.
func (w *waiter) failed() error {
	for i := range w.fds {
		if w.fds[i].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) == 0 {
			continue
		}
		e, err := unix.GetsockoptInt(int(w.fds[i].Fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if check := w.check(); check != nil {
			return check // which tells more
		}
		if err == nil && e != 0 {
			return unix.Errno(e)
		}
		nanosleep(time.Millisecond) // an error that does not go away must not spin
	}
	return nil
}

// check asks the queues whether their links are up.
func (w *waiter) check() error {
	for _, q := range w.queues {
		if c, ok := q.(Checker); ok {
			if err := c.Check(); err != nil {
				return err
			}
		}
	}
	return nil
}
