package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"os"
	"time"
)

// SinkOptions is where to receive.
type SinkOptions struct {
	Network  string // "tcp" or "udp"
	Address  string // host:port, as for net.Listen
	Idle     time.Duration
	Timeout  time.Duration // for the first byte
	Path     string        // also store the content here
	Out      io.Writer     // or write it there
	Progress *Progress     // counts along; nil: nobody looks
}

// Sink receives one transfer.
type Sink struct {
	o   SinkOptions
	l   *net.TCPListener // or
	pc  *net.UDPConn
	out io.Writer // nil: content is only hashed

	open []io.Closer
}

// Listen binds; Receive or Close must follow.
func Listen(o SinkOptions) (s *Sink, err error) {
	if o.Idle <= 0 {
		o.Idle = DefaultIdle
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	s = &Sink{o: o, out: o.Out}
	if o.Network == "udp" {
		err = s.listenUDP()
	} else {
		err = s.listenTCP()
	}
	if err == nil && o.Path != "" {
		err = s.createFile()
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("sink: %w", err)
	}
	return s, nil
}

func (s *Sink) listenTCP() error {
	l, err := net.Listen(s.o.Network, s.o.Address)
	if err != nil {
		return err
	}
	tl, ok := l.(*net.TCPListener)
	if !ok {
		l.Close()
		return fmt.Errorf("network %q", s.o.Network)
	}
	s.l, s.open = tl, append(s.open, tl)
	return nil
}

func (s *Sink) createFile() error {
	f, err := os.Create(s.o.Path)
	if err != nil {
		return err
	}
	s.out, s.open = f, append(s.open, f)
	return nil
}

func (s *Sink) listenUDP() error {
	pc, err := net.ListenPacket("udp", s.o.Address)
	if err != nil {
		return err
	}
	s.pc, s.open = pc.(*net.UDPConn), append(s.open, pc)
	return bigBuffer(s.pc)
}

// Addr is what the sink is bound to.
func (s *Sink) Addr() net.Addr {
	if s.pc != nil {
		return s.pc.LocalAddr()
	}
	return s.l.Addr()
}

// Close frees the sink's sockets and file. It may be called again.
func (s *Sink) Close() {
	for _, c := range s.open {
		c.Close()
	}
	s.open = nil
}

// Receive takes one transfer. When ctx ends, what came so far is the result.
func (s *Sink) Receive(ctx context.Context) (*Result, error) {
	defer s.Close()
	if s.pc != nil {
		return s.receiveUDP(ctx)
	}
	return s.receiveTCP(ctx)
}

func (s *Sink) receiveTCP(ctx context.Context) (*Result, error) {
	defer context.AfterFunc(ctx, func() { s.l.SetDeadline(time.Unix(1, 0)) })()
	if ctx.Err() == nil {
		_ = s.l.SetDeadline(time.Now().Add(s.o.Timeout))
	}
	conn, err := s.l.Accept()
	if err != nil {
		return &Result{End: end(ctx, err)}, nil
	}
	defer conn.Close()
	s.l.Close() // one transfer: a second peer is refused
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	sum, start := sha256.New(), time.Now()
	n, err := s.drain(ctx, conn, sum)
	res := &Result{Bytes: n, Elapsed: time.Since(start), Peer: conn.RemoteAddr().String(), End: end(ctx, err)}
	if err == nil {
		res.Complete, res.SHA256 = true, sum.Sum(nil)
	}
	var we *writeError
	if errors.As(err, &we) {
		return nil, fmt.Errorf("sink: %w", we.err)
	}
	return res, nil
}

// writeError is a failure of the file the content is stored in.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }

func (s *Sink) drain(ctx context.Context, conn net.Conn, sum hash.Hash) (n int64, err error) {
	buf := make([]byte, blockSize)
	for {
		extend(ctx, conn, s.o.Idle)
		k, err := conn.Read(buf)
		n += int64(k)
		s.o.Progress.count(k, 0)
		if werr := s.store(sum, buf[:k]); werr != nil {
			return n, werr
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// store hashes content and writes it to the file, if there is one.
func (s *Sink) store(sum hash.Hash, b []byte) error {
	sum.Write(b)
	if s.out == nil {
		return nil
	}
	if _, err := s.out.Write(b); err != nil {
		return &writeError{err}
	}
	return nil
}
