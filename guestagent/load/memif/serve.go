package memif

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// listen makes the socket. One that nobody listens on any more is replaced.
func listen(path string) (*net.UnixListener, error) {
	addr := &net.UnixAddr{Name: path, Net: "unixpacket"}
	if c, err := net.DialUnix("unixpacket", nil, addr); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, unix.EADDRINUSE)
	} else if st, e := os.Lstat(path); e == nil && st.Mode()&os.ModeSocket != 0 && errors.Is(err, unix.ECONNREFUSED) {
		_ = os.Remove(path)
	}
	l, err := net.ListenUnix("unixpacket", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

// Serve connects to peers, one after the other, until ctx ends or Close is called, and then returns nil. What goes wrong with
// a peer ends only its own connection.
func (p *Port) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, p.Close)
	defer stop()
	defer p.Close()
	for {
		conn, err := p.next()
		if conn == nil {
			return err
		}
		if err := p.serve(conn); err != nil {
			p.cfg.Logf("memif %s: %v", p.cfg.Path, err)
		}
		if p.cfg.Role == Client {
			p.pause()
		}
	}
}

// next returns the next connection, nil when the port was closed.
func (p *Port) next() (*net.UnixConn, error) {
	for {
		var conn *net.UnixConn
		var err error
		if p.listen != nil {
			conn, err = p.listen.AcceptUnix()
		} else {
			conn, err = net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: p.cfg.Path, Net: "unixpacket"})
		}
		select {
		case <-p.closed:
			if conn != nil {
				_ = conn.Close()
			}
			return nil, nil
		default:
		}
		if err == nil || p.listen != nil {
			return conn, err
		}
		p.pause()
	}
}

// pause waits before a client tries again, or for Close.
func (p *Port) pause() {
	select {
	case <-p.closed:
	case <-time.After(redial):
	}
}

// Close ends Serve, which may be still returning, and removes a server's socket.
func (p *Port) Close() {
	p.once.Do(func() {
		close(p.closed)
		if p.listen != nil {
			_ = p.listen.Close()
		}
		p.drop(net.ErrClosed)
	})
}

// serve does all of one connection.
func (p *Port) serve(conn *net.UnixConn) error {
	s := &session{port: p, channel: channel{conn: conn, fd: -1}}
	defer s.close()
	p.mu.Lock()
	p.conn = conn
	p.mu.Unlock()
	select {
	case <-p.closed: // before it could be seen
		return nil
	default:
	}
	handshake := s.asServer
	if p.cfg.Role == Client {
		handshake = s.asClient
	}
	if err := handshake(); err != nil {
		_ = s.send(encodeDisconnect(err.Error()))
		return err
	}
	return s.stay()
}

// session is a connection: what it has mapped and opened.
type session struct {
	channel
	port    *Port
	regions [][]byte
	up      int // queues that were told of
}

// stay waits for the end of a connection that is complete.
func (s *session) stay() error {
	m, err := s.receive(0)
	switch {
	case errors.Is(err, net.ErrClosed):
		return nil
	case err != nil:
		return fmt.Errorf("connection ends: %w", err)
	case m.kind() == msgDisconnect:
		return fmt.Errorf("peer disconnects: %q", m.text(6, reasonSize))
	}
	return fmt.Errorf("message %d: %w", m.kind(), errProtocol)
}

// start puts the queues that the peer has, too, to work.
func (s *session) start(n int) error {
	for i := range n {
		q := &s.port.queues[i]
		err := guard(func() error {
			q.from.start(s.regions)
			q.to.start(s.regions)
			return nil
		})
		if err != nil {
			return err
		}
		s.up++
		s.port.events.Up(i, q.from.fd)
	}
	return nil
}

// close takes the queues out of work and gives everything back.
func (s *session) close() {
	for i := range s.port.queues {
		q := &s.port.queues[i]
		q.from.mu.Lock()
		q.from.regions = nil
		q.from.mu.Unlock()
		if i < s.up {
			s.port.events.Down(i)
		}
		q.from.stop()
		q.to.stop()
	}
	for _, mem := range s.regions {
		_ = unix.Munmap(mem)
	}
	s.drop()
	s.port.mu.Lock()
	defer s.port.mu.Unlock()
	_ = s.conn.Close()
	s.port.conn = nil
}
