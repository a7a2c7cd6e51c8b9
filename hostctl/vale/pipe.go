package vale

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
)

// Pipe is a port for a goroutine of this process: Port is for the switch, the other methods are for the goroutine. Those
// of one direction must not run at the same time as themselves.
type Pipe struct {
	up, down *ring // seen from the goroutine: up to the switch
	waker    Waker
	offloads Offloads
	waiting  atomic.Bool
	arrived  chan struct{}
	closed   chan struct{}
	once     sync.Once
}

// NewPipe returns a pipe that holds about so many bytes in each direction, at least 256 KiB, and whose reader takes the
// offloads.
func NewPipe(size int, offloads Offloads) *Pipe {
	return &Pipe{up: newRing(size), down: newRing(size), offloads: offloads, arrived: make(chan struct{}, 1), closed: make(chan struct{})}
}

// Port returns the switch's side.
func (p *Pipe) Port() Port { return pipePort{p} }

// Write sends frames, copying them, and returns how many there was room for. It is ready only after Attach.
func (p *Pipe) Write(frames []Frame) int {
	n, _ := p.up.write(frames)
	if n > 0 {
		p.waker.Wake()
	}
	return n
}

// Read returns the frames that have come, which are good until the next Read. It does not wait.
func (p *Pipe) Read(frames []Frame) int {
	p.down.release()
	return p.down.read(frames)
}

// Wait waits until there is something to Read. It returns net.ErrClosed when the port was detached.
func (p *Pipe) Wait(ctx context.Context) error {
	for {
		p.waiting.Store(true)
		if !p.down.empty() {
			p.waiting.Store(false)
			return nil
		}
		select {
		case <-p.arrived:
		case <-p.closed:
			return net.ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// pipePort keeps the methods of Port out of Pipe's.
type pipePort struct{ *Pipe }

func (p pipePort) Start(w Waker) error {
	p.waker = w
	return nil
}

func (p pipePort) Receive(frames []Frame) (int, error) {
	p.up.release()
	return p.up.read(frames), nil
}

func (p pipePort) Send(frames []Frame) (n, bytes int) {
	n, bytes = p.down.write(frames)
	if n > 0 && p.waiting.Load() && p.waiting.CompareAndSwap(true, false) {
		select {
		case p.arrived <- struct{}{}:
		default:
		}
	}
	return n, bytes
}

func (p pipePort) Offloads() Offloads { return p.offloads }
func (p pipePort) Arm() bool          { return !p.up.empty() }

func (p pipePort) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}
