package client

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"picolab/guestagent/wire"

	"github.com/containerd/ttrpc"
)

// cancelGrace is how long a cancelled stream waits for the agent to say that it ended what it had started.
const cancelGrace = 5 * time.Second

// rawStream is what protoc-gen-go-ttrpc makes for a bidirectional call.
type rawStream[I, O any] interface {
	Send(*I) error
	Recv() (*O, error)
	CloseSend() error
}

// stream is a bidirectional call that ends with its caller's context: ttrpc itself sends no cancellation.
type stream[I, O any] struct {
	ctx    context.Context // the caller's
	raw    rawStream[I, O]
	cancel context.CancelFunc // ends raw's own context
	stop   func() bool

	mu     sync.Mutex // Send and CloseSend
	closed bool

	unack uint32
	ended atomic.Bool // recv has failed: ttrpc would wait for ever for another message
}

// open starts a call. done must be called when the stream is no longer used.
func open[I, O any, S rawStream[I, O]](ctx context.Context, c *Client, call func(context.Context) (S, error), first *I) (*stream[I, O], error) {
	if err := ctx.Err(); err != nil {
		return nil, wire.Classify(err)
	}
	inner, cancel := context.WithCancel(c.ctx)
	raw, err := call(inner)
	if err != nil {
		cancel()
		return nil, wire.FromStatus(err)
	}
	s := &stream[I, O]{ctx: ctx, raw: raw, cancel: cancel}
	s.stop = context.AfterFunc(ctx, s.abandon)
	if err := s.send(first); err != nil {
		s.done()
		return nil, err
	}
	return s, nil
}

// abandon tells the agent that nobody waits any more, and gives it a while to agree.
func (s *stream[I, O]) abandon() {
	s.closeSend()
	time.AfterFunc(cancelGrace, s.cancel)
}

func (s *stream[I, O]) closeSend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		_ = s.raw.CloseSend() // a lost connection shows in recv
	}
}

func (s *stream[I, O]) send(m *I) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.wrap(io.ErrClosedPipe)
	}
	return s.wrap(s.raw.Send(m))
}

// recv returns the next message; io.EOF after the last one.
func (s *stream[I, O]) recv() (*O, error) {
	m, err := s.raw.Recv()
	if err != nil {
		s.ended.Store(true)
	}
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	return m, s.wrap(err)
}

func (s *stream[I, O]) wrap(err error) error {
	if err == nil {
		return nil
	}
	if cause := s.ctx.Err(); cause != nil {
		err = cause
	} else if errors.Is(err, context.Canceled) {
		err = ttrpc.ErrClosed // Close was called
	}
	return wire.FromStatus(err)
}

// consumed counts a received data message and acknowledges every few.
func (s *stream[I, O]) consumed(ack func(*wire.Ack) *I) error {
	s.unack++
	if s.unack < wire.AckEvery {
		return nil
	}
	n := s.unack
	s.unack = 0
	return s.send(ack(&wire.Ack{Messages: n}))
}

// drain reads to the end of the stream, so that ttrpc forgets it.
func (s *stream[I, O]) drain() {
	s.closeSend()
	t := time.AfterFunc(cancelGrace, s.cancel)
	defer t.Stop()
	for !s.ended.Load() {
		_, _ = s.recv()
	}
}

// done releases the stream; nothing else may be receiving. It may be called again.
func (s *stream[I, O]) done() {
	s.stop()
	s.drain()
	s.cancel()
}
