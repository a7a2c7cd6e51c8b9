package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// errIdle ends a transfer on which nothing moves.
var errIdle = errors.New("no data from the server")

// An idleTimer cancels a request when its body stands still: a whole-request deadline would cut slow but living ones.
type idleTimer struct {
	limit  time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
	ctx    context.Context
}

// withIdleTimeout starts the timer. The wait for the first byte counts too.
func withIdleTimeout(parent context.Context, limit time.Duration) (context.Context, *idleTimer) {
	ctx, cancel := context.WithCancelCause(parent)
	t := &idleTimer{limit: limit, cancel: cancel, ctx: ctx}
	t.timer = time.AfterFunc(limit, func() { cancel(fmt.Errorf("%w for %v", errIdle, limit)) })
	return ctx, t
}

func (t *idleTimer) stop() {
	t.timer.Stop()
	t.cancel(nil)
}

// cause replaces "context canceled" by why.
func (t *idleTimer) cause(err error) error {
	if err != nil && t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	return err
}

// reader resets the timer with every read that brings something.
func (t *idleTimer) reader(r io.Reader) io.Reader { return idleReader{t, r} }

type idleReader struct {
	idle *idleTimer
	r    io.Reader
}

func (r idleReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if n > 0 {
		r.idle.timer.Reset(r.idle.limit)
	}
	return n, err
}
