package netperf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Server serves netperf clients, each in a goroutine of its own.
type Server struct {
	// Allow are the networks whose clients are served; none means all.
	Allow []netip.Prefix
	// MaxClients is how many are served at once, 0 for DefaultClients. More wait in the backlog of the listener.
	MaxClients int
	// Log tells of clients that were turned away or failed; nil is silence. It is called by several goroutines.
	Log func(format string, args ...any)
}

// DefaultClients is how many clients a Server serves at once unless told.
const DefaultClients = 64

// Serve takes control connections from l until ctx ends, and returns when all clients and l are closed. The end of ctx
// is no error.
func (s *Server) Serve(ctx context.Context, l *net.TCPListener) error {
	var clients sync.WaitGroup
	defer clients.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a failing listener ends the clients too
	unhook := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer unhook()
	defer l.Close()
	places := make(chan struct{}, s.maxClients())
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		conn, err := s.accept(ctx, l)
		if err != nil || conn == nil {
			return err
		}
		clients.Go(func() {
			defer func() { <-places }()
			s.client(ctx, conn)
		})
	}
}

func (s *Server) maxClients() int {
	if s.MaxClients > 0 {
		return s.MaxClients
	}
	return DefaultClients
}

// accept returns the next client that is allowed; nil when ctx has ended. It stays when the system is out of
// descriptors for a while.
func (s *Server) accept(ctx context.Context, l *net.TCPListener) (*net.TCPConn, error) {
	for {
		conn, err := l.AcceptTCP()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil, nil
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
			s.log("accept client: %v; trying again", err)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		case err != nil:
			return nil, fmt.Errorf("accept client: %w", err)
		case s.allowed(unmapped(conn.RemoteAddr()).Addr()):
			return conn, nil
		default:
			s.log("%s: not allowed", conn.RemoteAddr())
			_ = conn.Close()
		}
	}
}

func (s *Server) allowed(a netip.Addr) bool {
	a = a.WithZone("")
	return len(s.Allow) == 0 || slices.ContainsFunc(s.Allow, func(p netip.Prefix) bool { return p.Contains(a) })
}

// mayBringData says whether a may be the far end of a data connection of the client at host: the client itself, or,
// when the clients that may connect are named, one of these.
func (s *Server) mayBringData(a, host netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return a == host.WithZone("") || a.IsLoopback() && host.IsLoopback() || len(s.Allow) > 0 && s.allowed(a)
}

func (s *Server) log(format string, args ...any) {
	if s.Log != nil {
		s.Log(format, args...)
	}
}

// client serves one control connection to its end.
func (s *Server) client(ctx context.Context, conn *net.TCPConn) {
	defer conn.Close()
	unhook := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer unhook()
	c := newControl(conn)
	for {
		m, err := c.receive(idleTime)
		if err == nil {
			err = s.handle(ctx, c, m)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && ctx.Err() == nil {
				s.log("%s: %v", conn.RemoteAddr(), err)
			}
			return
		}
	}
}

// handle answers one message. An error ends the connection.
func (s *Server) handle(ctx context.Context, c *control, m *Message) error {
	switch m.Kind() {
	case kindOmni:
		return s.omni(ctx, c, m)
	case kindDebugOn, kindDebugOff:
		return c.send(statusMessage(kindDebugOK, 0))
	case kindCPUCalibrate:
		answer := statusMessage(kindCPUCalibrate, 0)
		answer.setFloat(0, 100) // ticks a second, USER_HZ
		answer.setWord(1, int32(runtime.NumCPU()))
		return c.send(answer)
	}
	s.log("%s: request of unknown kind %d", c.RemoteAddr(), m.Kind())
	return c.send(statusMessage(m.Kind(), errUnknownTest))
}

func statusMessage(kind, status int32) *Message {
	m := new(Message)
	m.setHeader(kind, status)
	return m
}

// omni does one test: response, data, results. A test that cannot be done is answered with an errno.
func (s *Server) omni(ctx context.Context, c *control, m *Message) error {
	r, err := parseRequest(m)
	if err != nil {
		s.log("%s: bad request: %v", c.RemoteAddr(), err)
		return c.send(statusMessage(kindOmniResponse, int32(unix.EINVAL)))
	}
	t, err := s.prepare(c, r)
	if err != nil {
		s.log("%s: %v", c.RemoteAddr(), err)
		return c.send(statusMessage(kindOmniResponse, errno(err)))
	}
	defer t.sock.Close()
	if err := c.send(t.response.message()); err != nil {
		return err
	}
	watched, _, release := c.watch(ctx, true)
	res, err := t.run(watched)
	release()
	if err != nil {
		s.log("%s: %v", c.RemoteAddr(), err)
		return c.send(statusMessage(kindOmniResults, errno(err)))
	}
	return c.send(res.message())
}

// errno is the number a client is told of an error.
func errno(err error) int32 {
	var e unix.Errno
	if errors.As(err, &e) && e != 0 && e < math.MaxInt16 {
		return int32(e)
	}
	return int32(unix.EIO)
}
