package vhostuser

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"picolab/hostctl/vhostuser/guestmem"
	"picolab/hostctl/vhostuser/internal/unixsock"
)

// Options are common to both kinds of Server. The zero value is good.
type Options struct {
	Logf  func(format string, args ...any) // failures of the guest or the front-end; may be nil
	Trace func(format string, args ...any) // every message; may be nil
	Retry time.Duration                    // between attempts to connect, for Dial; 0 means 100 ms

	// Places is a file, on a file system in memory best, in which packed rings note their place, so that the next process
	// with this file resumes them if this one crashes: the front-end does not know the place, and the base that it sends is
	// an old one. Only one Server may use it at a time. Empty for none. Split rings need none.
	Places string
}

func (o Options) withDefaults() Options {
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if o.Retry == 0 {
		o.Retry = 100 * time.Millisecond
	}
	return o
}

// Server connects a Device to front-ends, one after the other.
type Server struct {
	dev      Device
	opt      Options
	path     string
	listener *net.UnixListener            // nil in client mode
	given    atomic.Pointer[net.UnixConn] // the one connection to serve, by FromFD
	only     bool                         // given was all
	once     sync.Once
	closed   chan struct{}
	places   *guestmem.Shared // nil without Options.Places

	mu   sync.Mutex
	conn *conn // being served, or nil
}

// Listen returns a server on whose socket front-ends connect; it exists on return. Only this user may connect.
func Listen(path string, dev Device, opt Options) (*Server, error) {
	fd, err := unixsock.Listen(path)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		_ = os.Remove(path)
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	s := newServer(path, dev, opt)
	s.listener = l.(*net.UnixListener)
	s.listener.SetUnlinkOnClose(false) // Close removes the path that was given; net would take the kernel's idea of it
	return s, nil
}

// Dial returns a server that connects to a front-end listening at path (QEMU's server=on), again and again.
func Dial(path string, dev Device, opt Options) *Server { return newServer(path, dev, opt) }

// FromFD returns a server on a socket that somebody else made, which becomes the server's: a listening one is listened on, a
// connected one is served until the front-end hangs up, which ends Serve.
func FromFD(fd int, dev Device, opt Options) (*Server, error) {
	f := os.NewFile(uintptr(fd), "vhost-user socket")
	defer f.Close()
	s := newServer("", dev, opt)
	l, err := net.FileListener(f)
	if ul, ok := l.(*net.UnixListener); ok {
		s.listener = ul
		return s, nil
	}
	if err == nil {
		_ = l.Close()
	}
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("use descriptor %d: %w", fd, err)
	}
	uc, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, fmt.Errorf("use descriptor %d: not a unix socket", fd)
	}
	s.only = true
	s.given.Store(uc)
	return s, nil
}

func newServer(path string, dev Device, opt Options) *Server {
	return &Server{dev: dev, opt: opt.withDefaults(), path: path, closed: make(chan struct{})}
}

// Serve serves front-ends until ctx ends or Close is called, and then returns nil. A front-end's failure ends only its
// own connection. It may be called once.
func (s *Server) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	defer s.Close() // waits for the other one
	if s.opt.Places != "" {
		places, err := openPlaces(s.opt.Places, min(s.dev.Queues(), maxQueues))
		if err != nil {
			return err
		}
		s.places = places
		defer places.Close()
	}
	for {
		uc, err := s.next()
		if err != nil {
			return err
		}
		if uc == nil {
			return nil
		}
		s.serve(uc)
		if s.listener == nil && !s.only {
			s.pause() // a front-end that hangs up at once must not keep us busy
		}
	}
}

// serve runs one connection to its end.
func (s *Server) serve(uc *net.UnixConn) {
	c := newConn(s, uc)
	s.setConn(c)
	defer s.setConn(nil)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-s.closed:
			c.drop(nil)
		case <-done:
		}
	})
	if err := c.serve(); err != nil {
		s.opt.Logf("vhost-user front-end dropped: %v", err)
	}
	close(done)
	wg.Wait()
}

func (s *Server) setConn(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = c
}

// next returns the next connection, or nil when the server was closed.
func (s *Server) next() (*net.UnixConn, error) {
	if s.only {
		return s.given.Swap(nil), nil
	}
	if s.listener == nil {
		return s.dial(), nil
	}
	uc, err := s.listener.AcceptUnix()
	if errors.Is(err, net.ErrClosed) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("accept on %s: %w", s.path, err)
	}
	return uc, nil
}

// dial tries until it succeeds or the server is closed.
func (s *Server) dial() *net.UnixConn {
	for {
		select {
		case <-s.closed:
			return nil
		default:
		}
		if uc, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: s.path, Net: "unix"}); err == nil {
			return uc
		}
		s.pause()
	}
}

// pause waits for the time of a retry, or for Close.
func (s *Server) pause() {
	select {
	case <-s.closed:
	case <-time.After(s.opt.Retry):
	}
}

// Close ends Serve, which may be still returning, and removes the socket.
func (s *Server) Close() error {
	var err error
	s.once.Do(func() {
		close(s.closed)
		if uc := s.given.Swap(nil); uc != nil {
			err = uc.Close()
		}
		if s.listener != nil {
			err = s.listener.Close()
			if s.path != "" {
				err = errors.Join(err, os.Remove(s.path))
			}
		}
	})
	return err
}
