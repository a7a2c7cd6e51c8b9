package netperf

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Times of the control connection.
const (
	messageTime = 30 * time.Second  // for a whole message, once it has begun
	idleTime    = 2 * time.Minute   // that a server waits for a request
	answerTime  = 120 * time.Second // that a client waits for an answer, as the original does
	lingerTime  = 5 * time.Second   // that a client waits for the server's end of the connection
)

// control is a control connection.
type control struct {
	*net.TCPConn
	in *bufio.Reader
}

func newControl(c *net.TCPConn) *control {
	// A peer that is gone without a word is found out in 20 s.
	_ = c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3})
	return &control{TCPConn: c, in: bufio.NewReaderSize(c, MessageSize)}
}

// receive waits for a message to begin, and a bounded time for the rest of it. io.EOF is the peer's orderly end.
func (c *control) receive(wait time.Duration) (*Message, error) {
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, fmt.Errorf("receive control message: %w", err)
	}
	if _, err := c.in.Peek(1); err != nil {
		return nil, receiveError(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(messageTime))
	m := new(Message)
	if err := m.read(c.in); err != nil {
		return nil, receiveError(err)
	}
	return m, nil
}

func receiveError(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("receive control message: connection ended inside of it: %w", err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("receive control message: nothing more came: %w", err)
	}
	return fmt.Errorf("receive control message: %w", err)
}

func (c *control) send(m *Message) error {
	_ = c.SetWriteDeadline(time.Now().Add(messageTime))
	return m.write(c)
}

// Causes of a context that watch ended.
var (
	errPeerGone   = errors.New("peer closed the control connection during the test")
	errPeerSpeaks = errors.New("peer sent a control message during the test")
)

// lost says how a control connection ended during a test.
func lost(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
		return errPeerGone
	}
	return fmt.Errorf("control connection lost during the test: %w", err)
}

// watch returns a context that ends when the peer closes the control connection, a channel that is closed when a message
// begins, and a function to call when neither matters any more. Nothing else may read until then; the message is kept.
// With silent, a message ends the context too: its sender could go away behind it unnoticed.
func (c *control) watch(ctx context.Context, silent bool) (watched context.Context, begun <-chan struct{}, release func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	_ = c.SetReadDeadline(time.Time{})
	go func() {
		defer close(done)
		switch _, err := c.in.Peek(1); {
		case err == nil && silent:
			cancel(errPeerSpeaks)
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			cancel(lost(err))
		}
	}()
	return ctx, done, func() {
		_ = c.SetReadDeadline(time.Unix(1, 0))
		<-done
		cancel(nil)
	}
}

// addresses are the two ends, IPv4 ones never as IPv6.
func (c *control) addresses() (local, remote netip.AddrPort) {
	return unmapped(c.LocalAddr()), unmapped(c.RemoteAddr())
}

func unmapped(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
