package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/vsock"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// device is the unix socket of a vsock device that answers CONNECT as answer says.
func device(t *testing.T, answer func(conn net.Conn, line string)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(conn).ReadString('\n')
			answer(conn, line)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return path
}

func TestDialHybrid(t *testing.T) {
	path := device(t, func(conn net.Conn, line string) { fmt.Fprintf(conn, "OK 5\nhello %q", line) })
	conn, err := DialHybrid(t.Context(), path, 1024)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if b, err := io.ReadAll(conn); err != nil || string(b) != `hello "CONNECT 1024\n"` {
		t.Errorf("%q, %v", b, err)
	}
}

func TestDialHybridFails(t *testing.T) {
	for name, answer := range map[string]string{
		"closed": "", "no newline": "OK 5", "other": "ERR\n", "not a port": "OK x\n", "too big": "OK 4294967296\n", "long": strings.Repeat("O", 100),
	} {
		path := device(t, func(conn net.Conn, _ string) { io.WriteString(conn, answer) })
		if conn, err := DialHybrid(t.Context(), path, 1); err == nil {
			conn.Close()
			t.Errorf("%s: no error", name)
		} else if name == "closed" && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := DialHybrid(t.Context(), "/no/such/socket", 1); err == nil {
		t.Error("no socket: no error")
	}
}

func TestDialHybridDeadline(t *testing.T) {
	release := make(chan struct{})
	path := device(t, func(net.Conn, string) { <-release })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := DialHybrid(ctx, path, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	close(release)
}

func TestRetry(t *testing.T) {
	n := 0
	v, err := Retry(t.Context(), time.Millisecond, func(context.Context) (int, error) {
		if n++; n < 3 {
			return 0, errors.New("not yet")
		}
		return n, nil
	})
	if v != 3 || err != nil {
		t.Errorf("%d, %v", v, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	last := errors.New("last")
	if _, err := Retry(ctx, time.Millisecond, func(context.Context) (int, error) { return 0, last }); !errors.Is(err, last) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestOnlyTheHost(t *testing.T) {
	for _, tt := range []struct {
		addr net.Addr
		want bool
	}{
		{&vsock.Addr{ContextID: 2, Port: 5}, true}, {&vsock.Addr{ContextID: 1}, false}, {&vsock.Addr{ContextID: 0}, false},
		{&vsock.Addr{ContextID: 3}, false}, {&vsock.Addr{ContextID: 0xffffffff}, false}, {&net.UnixAddr{}, false}, {nil, false},
	} {
		if got := FromHost(tt.addr); got != tt.want {
			t.Errorf("%v: %v", tt.addr, got)
		}
	}
}

// queue is a listener of prepared connections.
type queue struct {
	net.Listener
	conns []net.Conn
}

func (q *queue) Accept() (net.Conn, error) {
	if len(q.conns) == 0 {
		return nil, net.ErrClosed
	}
	c := q.conns[0]
	q.conns = q.conns[1:]
	return c, nil
}

// peerConn is a connection of a peer with some context id.
type peerConn struct {
	net.Conn
	cid    uint32
	closed bool
}

func (c *peerConn) RemoteAddr() net.Addr { return &vsock.Addr{ContextID: c.cid} }
func (c *peerConn) Close() error         { c.closed = true; return nil }

func TestOthersAreClosedUnseen(t *testing.T) {
	loop, host := &peerConn{cid: 1}, &peerConn{cid: HostCID}
	l := &hostOnly{&queue{conns: []net.Conn{loop, host}}}
	conn, err := l.Accept()
	if err != nil || conn != host || !loop.closed || host.closed {
		t.Errorf("%v, %v", conn, err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("error %v", err)
	}
}

// FuzzReply takes arbitrary answers to CONNECT.
func FuzzReply(f *testing.F) {
	f.Add("OK 1024\nrest")
	f.Add("OK 99999999999999\n")
	f.Fuzz(func(t *testing.T, s string) {
		r := strings.NewReader(s)
		line, err := readLine(r)
		if err == nil && len(s)-r.Len() != len(line)+1 {
			t.Errorf("%q: read past the line", s)
		}
		_ = checkReply(line)
	})
}
