package vale

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// waker is the switch's sleep: an epoll over what the ports watch, and an eventfd.
type waker struct {
	epoll, event int
	asleep       atomic.Bool
	deadline     int64 // of WakeAfter, in nanoseconds of the clock; the worker's
	clock        func() int64
}

// never is a deadline that does not come.
const never = math.MaxInt64

var started = time.Now()

// monotonic is nanoseconds since the program began.
func monotonic() int64 { return int64(time.Since(started)) }

func newWaker() (*waker, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make epoll: %w", err)
	}
	event, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make eventfd: %w", err), unix.Close(epoll))
	}
	w := &waker{epoll: epoll, event: event, deadline: never, clock: monotonic}
	if err := w.Watch(event, unix.EPOLLIN); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *waker) close() error { return errors.Join(unix.Close(w.epoll), unix.Close(w.event)) }

func (w *waker) Watch(fd int, events uint32) error {
	ev := unix.EpollEvent{Events: events | unix.EPOLLET, Fd: int32(fd)}
	if err := unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("watch descriptor %d: %w", fd, err)
	}
	return nil
}

func (w *waker) Unwatch(fd int) { _ = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, fd, nil) }

func (w *waker) Wake() {
	if w.asleep.Load() {
		_, _ = unix.Write(w.event, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // EAGAIN: it is full, so readable
	}
}

func (w *waker) WakeAfter(d time.Duration) { w.deadline = min(w.deadline, w.clock()+int64(d)) }

// sleep waits for a descriptor, Wake or the deadline. The events are edge-triggered, so none has to be read.
func (w *waker) sleep() {
	timeout := -1
	if w.deadline != never {
		ms := (w.deadline - w.clock() + int64(time.Millisecond) - 1) / int64(time.Millisecond)
		timeout = int(min(max(ms, 0), math.MaxInt32))
	}
	var events [16]unix.EpollEvent
	_, _ = unix.EpollWait(w.epoll, events[:], timeout) // whatever woke us, all ports are looked at
}
