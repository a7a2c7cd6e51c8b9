package pktgen

import (
	"sync"

	"golang.org/x/sys/unix"
)

// wire is a Port for tests, on the end of a cable in memory that never blocks, with the faults that a test wants.
type wire struct {
	mu       sync.Mutex
	lines    []*line
	away     *wire
	failAt   int // frames after which the link goes down, -1 is never
	sent     int
	stuck    int // frames of each queue that never leave
	mangle   func(n int, frame []byte) [][]byte
	checked  error
	capacity int
}

// line is a queue of a wire.
type line struct {
	w       *wire
	buffers [][]byte
	inbox   [][]byte
	taken   int
	lost    uint64
}

// newWire makes a cable whose ends have queues.
func newWire(queues int) (a, b *wire) {
	a, b = &wire{failAt: -1, capacity: 64}, &wire{failAt: -1, capacity: 64}
	a.away, b.away = b, a
	for _, w := range []*wire{a, b} {
		for range queues {
			l := &line{w: w}
			for range w.capacity {
				l.buffers = append(l.buffers, make([]byte, 2048))
			}
			w.lines = append(w.lines, l)
		}
	}
	return a, b
}

func (*wire) Kind() string      { return "test" }
func (*wire) Hardware() [6]byte { return [6]byte{2, 0, 0, 0, 0, 1} }
func (*wire) Close() error      { return nil }
func (w *wire) Queues() (out []Queue) {
	for _, l := range w.lines {
		out = append(out, l)
	}
	return out
}

func (l *line) Reserve(frames [][]byte) (int, error) { return copy(frames, l.buffers), nil }

func (l *line) Send(frames [][]byte) error {
	for _, f := range frames {
		out, err := l.w.take(f)
		if err != nil {
			return err
		}
		l.w.away.deliver(out)
	}
	return nil
}

// take counts a frame and gives what becomes of it on the way. The other end's lock is not taken meanwhile: it sends, too.
func (w *wire) take(frame []byte) ([][]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failAt >= 0 && w.sent >= w.failAt {
		return nil, unix.ENETDOWN
	}
	w.sent++
	out := append([]byte{}, frame...)
	if w.mangle != nil {
		return w.mangle(w.sent-1, out), nil
	}
	return [][]byte{out}, nil
}

func (w *wire) deliver(frames [][]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines[0].inbox = append(w.lines[0].inbox, frames...)
}

func (l *line) Flush() (int, error) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.w.stuck, nil
}

func (l *line) Receive(frames [][]byte) (int, error) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.taken = copy(frames, l.inbox)
	return l.taken, nil
}

func (l *line) Release() error {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.inbox = l.inbox[l.taken:]
	l.taken = 0
	return nil
}

func (l *line) Descriptor() int { return -1 }
func (l *line) Lost() uint64    { return l.lost }
func (l *line) Check() error {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.w.checked
}
