package guestagent

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"picolab/guestagent/wire"

	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
	"github.com/sirupsen/logrus"
)

// ServeConn serves one connection to its end, closes it, and returns when everything it started has ended.
func ServeConn(ctx context.Context, conn net.Conn, o Options) {
	ctx, cancel := context.WithCancel(quiet(ctx))
	defer cancel()
	s := &session{AgentService: o.Verbs, o: o, conn: newSessionConn(conn)}
	srv, err := ttrpc.NewServer()
	if err != nil {
		o.logf("serve %v: %v", conn.RemoteAddr(), err)
		conn.Close()
		return
	}
	srv.RegisterService(wire.ServiceName, wire.Describe(s, s.around))
	stranger := time.AfterFunc(o.helloTimeout(), s.expire)
	defer stranger.Stop()

	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(ctx, &oneConn{conn: s.conn}) }) // it says only that the listener ended
	select {
	case <-s.conn.closed:
	case <-ctx.Done():
	}
	cancel()
	s.conn.Close()
	srv.Close()
	s.wait()
	serving.Wait()
}

// quiet keeps ttrpc's own log away from the console: what matters comes back as an error.
func quiet(ctx context.Context) context.Context {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return log.WithLogger(ctx, logrus.NewEntry(l))
}

// session is one connection. It adds to the verbs what depends on the connection: Hello and what is refused before it.
type session struct {
	wire.AgentService
	o     Options
	conn  *sessionConn
	known atomic.Bool // Hello succeeded

	mu      sync.Mutex // running and over
	running int
	over    bool // no call may begin
	calls   sync.WaitGroup
}

// Hello implements wire.AgentService. One wrong token ends the connection.
func (s *session) Hello(ctx context.Context, req *wire.HelloRequest) (*wire.HelloReply, error) {
	if s.o.Token != "" && subtle.ConstantTimeCompare([]byte(req.Token), []byte(s.o.Token)) != 1 {
		time.AfterFunc(100*time.Millisecond, func() { s.conn.Close() }) // after the reply
		return nil, wire.Errorf(wire.Code_REFUSED, "hello: wrong token")
	}
	if req.Protocol != wire.Protocol {
		return nil, wire.Errorf(wire.Code_UNSUPPORTED, "hello: protocol %d, this agent speaks %d", req.Protocol, wire.Protocol)
	}
	s.known.Store(true)
	s.conn.SetLimit(wire.MaxFrame)
	if s.o.Greeted != nil {
		s.o.Greeted()
	}
	return hello(s.o), nil
}

// expire ends a connection that has not said Hello in time.
func (s *session) expire() {
	if !s.known.Load() {
		s.conn.Close()
	}
}

// around runs every call: refuses strangers, bounds the number of calls, and turns a panic into an error.
func (s *session) around(ctx context.Context, method string, next func(context.Context) (any, error)) (reply any, err error) {
	if method != "Hello" && !s.known.Load() {
		return nil, wire.Errorf(wire.Code_REFUSED, "%s: no hello yet", method)
	}
	if err := s.begin(); err != nil {
		return nil, err
	}
	defer s.end()
	defer func() {
		if r := recover(); r != nil {
			s.o.logf("panic in %s: %v\n%s", method, r, debug.Stack())
			reply, err = nil, wire.Errorf(wire.Code_INTERNAL, "%s: agent panic: %v", method, r)
		}
	}()
	return next(ctx)
}

func (s *session) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return wire.Errorf(wire.Code_LOST, "connection closed")
	}
	if s.running == wire.MaxStreams {
		return wire.Errorf(wire.Code_TOO_BIG, "%d calls already running", s.running)
	}
	s.running++
	s.calls.Add(1)
	return nil
}

// wait returns when no call runs; none begins any more.
func (s *session) wait() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.calls.Wait()
}

func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	s.calls.Done()
}

// sessionConn is a guarded connection that says when it is closed.
type sessionConn struct {
	*wire.GuardedConn
	once   sync.Once
	closed chan struct{}
}

func newSessionConn(conn net.Conn) *sessionConn {
	return &sessionConn{GuardedConn: wire.Guard(conn, wire.MaxFrameBeforeHello), closed: make(chan struct{})}
}

// Read ends with io.EOF when the connection was closed here: ttrpc lingers on any other error.
func (c *sessionConn) Read(p []byte) (int, error) {
	n, err := c.GuardedConn.Read(p)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

func (c *sessionConn) Close() error {
	var err error
	c.once.Do(func() {
		close(c.closed)
		err = c.GuardedConn.Close()
	})
	return err
}

// oneConn is a listener with a single connection.
type oneConn struct {
	conn *sessionConn
	once sync.Once
}

func (l *oneConn) Accept() (conn net.Conn, err error) {
	l.once.Do(func() { conn = l.conn })
	if conn != nil {
		return conn, nil
	}
	<-l.conn.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return l.conn.LocalAddr() }
