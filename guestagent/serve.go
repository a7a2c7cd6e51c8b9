// Package guestagent is the agent that serves every endpoint of a lab: a guest over vsock, as its PID 1, and the lab's
// host side over an inherited socket.
//
// One connection is one session: Hello comes first, and everything a connection has started (processes, captures,
// sinks, generators) ends with it. Limits and error codes are package wire's, what the calls do package verbs'.
package guestagent

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"picolab/guestagent/wire"
)

// Options is what an agent needs to know to serve.
type Options struct {
	Token     string // what Hello must bring; "" = any: the connection itself is the authority
	ImageID   string
	Started   time.Time                        // of the process; zero = unknown
	Listening time.Time                        // since then; zero = unknown
	Verbs     wire.AgentService                // all but Hello; package verbs has it
	Logf      func(format string, args ...any) // default: nothing

	Greeted      func()        // called at every accepted Hello; nil = nobody cares
	HelloTimeout time.Duration // 0 = wire.HelloTimeout
}

func (o Options) helloTimeout() time.Duration {
	if o.HelloTimeout > 0 {
		return o.HelloTimeout
	}
	return wire.HelloTimeout
}

func (o Options) logf(format string, args ...any) {
	if o.Logf != nil {
		o.Logf(format, args...)
	}
}

// Serve serves the connections of l until ctx ends or l fails, and returns when the last session has ended. It closes l.
// Its error is nil when ctx ended.
func Serve(ctx context.Context, l net.Listener, o Options) error {
	defer l.Close()
	var sessions sync.WaitGroup
	defer sessions.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })() // of this context, which has ended when accept fails by it
	slots := make(chan struct{}, wire.MaxConns)
	for {
		conn, err := accept(ctx, l, o)
		if err != nil {
			return err
		}
		if conn == nil {
			return nil
		}
		select {
		case slots <- struct{}{}:
		default:
			o.logf("connection of %v refused: %d open", conn.RemoteAddr(), wire.MaxConns)
			conn.Close()
			continue
		}
		sessions.Go(func() {
			defer func() { <-slots }()
			ServeConn(ctx, conn, o)
		})
	}
}

// accept returns nil, nil when ctx has ended. Errors that pass (a peer gone, no descriptors) are waited out.
func accept(ctx context.Context, l net.Listener, o Options) (net.Conn, error) {
	for {
		conn, err := l.Accept()
		if err == nil {
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, nil
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		o.logf("accept: %v", err)
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}
