package switchboard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"picolab/guestagent/load/memif"
	"picolab/hostctl/vale"
)

// Memif returns a port on shared memory, for DPDK's net_memif, VPP and our own generators. A server's socket exists on return.
// The peer may come, go, and come back; with once the port fails, and so is detached, when the first one has gone.
func Memif(cfg memif.Config, once bool) (vale.Port, error) {
	m := &shared{pairs: max(cfg.Queues, 1), once: once}
	var err error
	if m.port, err = memif.New(cfg, linkEvents{m}); err != nil {
		return nil, err
	}
	m.interrupts, m.lists = make([]int, m.pairs), make([][][]byte, m.pairs)
	return m, nil
}

// shared is a vale.Port over a memif.Port.
type shared struct {
	port   *memif.Port
	pairs  int
	once   bool
	served sync.WaitGroup
	waker  vale.Waker

	interrupts []int // of the queues that are up, Serve's goroutine's
	up         atomic.Uint32
	gone       atomic.Bool // a peer has

	// The switch's:
	room, taken [][]byte // for a burst, made when the peer first comes up; and cut to what came
	next        int      // queue to look at first
	lists       [][][]byte
}

func (m *shared) Start(w vale.Waker) error {
	m.waker = w
	m.served.Go(func() { _ = m.port.Serve(context.Background()) })
	return nil
}

func (m *shared) Close() error {
	m.port.Close()
	m.served.Wait()
	return nil
}

// linkEvents keeps the methods of memif.Events out of shared's.
type linkEvents struct{ *shared }

func (e linkEvents) Up(queue, interrupt int) {
	e.interrupts[queue] = interrupt
	if err := e.waker.Watch(interrupt, unix.EPOLLIN); err != nil {
		e.interrupts[queue] = -1
	}
	e.up.Add(1)
	e.waker.Wake()
}

func (e linkEvents) Down(queue int) {
	if e.interrupts[queue] >= 0 {
		e.waker.Unwatch(e.interrupts[queue])
	}
	e.gone.Store(true)
	e.up.Add(^uint32(0))
	e.waker.Wake()
}

// errGone ends a port that was for one peer.
var errGone = errors.New("the peer has gone")

// Receive takes a burst from the next queue that has one.
func (m *shared) Receive(frames []vale.Frame) (int, error) {
	if m.up.Load() == 0 {
		if m.once && m.gone.Load() {
			return 0, fmt.Errorf("memif: %w", errGone)
		}
		return 0, nil
	}
	if m.room == nil {
		m.makeRoom()
	}
	for range m.pairs {
		queue := m.next
		if m.next++; m.next == m.pairs {
			m.next = 0
		}
		taken := m.taken[:copy(m.taken[:min(burst, len(frames))], m.room)]
		if n, err := m.port.Take(queue, taken); n > 0 && err == nil {
			for i, b := range taken[:n] {
				frames[i] = vale.Frame{Data: b}
			}
			return n, nil
		}
	}
	return 0, nil
}

func (m *shared) makeRoom() {
	memory := make([]byte, burst*room)
	m.room, m.taken = make([][]byte, burst), make([][]byte, burst)
	for i := range m.room {
		m.room[i] = memory[i*room:][:0:room]
	}
}

// Send spreads flows over the queues that are up.
func (m *shared) Send(frames []vale.Frame) (n, bytes int) {
	queues := min(m.up.Load(), uint32(m.pairs))
	for i := range frames {
		q := uint32(0)
		if queues > 1 {
			q = flow(frames[i].Data) % queues
		}
		m.lists[q] = append(m.lists[q], frames[i].Data)
	}
	before := m.port.Stats().ToBytes
	for q, list := range m.lists {
		if len(list) > 0 {
			n += m.port.Put(q, list)
			m.lists[q] = list[:0]
		}
	}
	return n, int(m.port.Stats().ToBytes - before)
}

// Offloads are none: a memif has no header to tell of them.
func (m *shared) Offloads() vale.Offloads { return 0 }

func (m *shared) Arm() (more bool) {
	for queue := range m.pairs {
		more = m.port.Arm(queue) || more
	}
	return more || m.once && m.gone.Load()
}
