package qemu

import (
	"context"
	"fmt"
	"sync"
)

// keepEvents bounds the history. A lab's guest sends dozens; RTC_CHANGE is the only one that comes often.
const keepEvents = 4096

// events is the history of a connection's events. Readers hold positions in it, so none blocks the connection.
type events struct{ *history }

type history struct {
	mu     sync.Mutex
	first  int // position of list[0]
	list   []recorded
	wake   chan struct{} // closed and replaced at each change
	closed bool
}

type recorded struct {
	Event
	claimed bool // returned by a wait
}

func newEvents() events { return events{&history{wake: make(chan struct{})}} }

func (h *history) add(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, recorded{Event: e})
	if over := len(h.list) - keepEvents; over > 0 {
		h.list = append([]recorded(nil), h.list[over:]...)
		h.first += over
	}
	h.signal()
}

func (h *history) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.signal()
}

func (h *history) signal() {
	close(h.wake)
	h.wake = make(chan struct{})
}

// subscribe starts a goroutine that ends with ctx or the connection.
func (h *history) subscribe(ctx context.Context) <-chan Event {
	h.mu.Lock()
	pos := h.first + len(h.list)
	h.mu.Unlock()
	c := make(chan Event)
	go func() {
		defer close(c)
		for {
			e, ok := h.next(ctx, &pos)
			if !ok {
				return
			}
			select {
			case c <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return c
}

// next is the event at *pos, which it moves on; events that fell out of the history are skipped.
func (h *history) next(ctx context.Context, pos *int) (Event, bool) {
	for {
		h.mu.Lock()
		*pos = max(*pos, h.first)
		if i := *pos - h.first; i < len(h.list) {
			e := h.list[i].Event
			*pos++
			h.mu.Unlock()
			return e, true
		}
		wake, closed := h.wake, h.closed
		h.mu.Unlock()
		if closed {
			return Event{}, false
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return Event{}, false
		}
	}
}

func (h *history) wait(ctx context.Context, name string, match func(Event) bool) (Event, error) {
	for {
		h.mu.Lock()
		e, ok := h.claim(name, match)
		wake, closed := h.wake, h.closed
		h.mu.Unlock()
		switch {
		case ok:
			return e, nil
		case closed:
			return Event{}, fmt.Errorf("wait for event %s: %w", name, ErrClosed)
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return Event{}, fmt.Errorf("wait for event %s: %w", name, context.Cause(ctx))
		}
	}
}

func (h *history) claim(name string, match func(Event) bool) (Event, bool) {
	for i := range h.list {
		r := &h.list[i]
		if r.Name == name && !r.claimed && (match == nil || match(r.Event)) {
			r.claimed = true
			return r.Event, true
		}
	}
	return Event{}, false
}
