package vvsock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"picolab/hostctl/vhostuser/internal/frontend"
)

var errDeadline = os.ErrDeadlineExceeded

func connectUDS(t testing.TB, d *Device) *net.UnixConn {
	t.Helper()
	c, err := net.Dial("unix", d.cfg.UDS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.UnixConn)
}

// TestHybrid sends the line byte by byte, and data right behind it.
func TestHybrid(t *testing.T) {
	g := newFakeGuest(t, nil)
	for _, cut := range []int{1, 5, 100} {
		c := connectUDS(t, g.dev)
		in := "CONNECT 1024\nearly data"
		for len(in) > 0 {
			n := min(cut, len(in))
			if _, err := c.Write([]byte(in[:n])); err != nil {
				t.Fatal(err)
			}
			in = in[n:]
		}
		h := g.expect(opRequest)
		if h.dstPort != 1024 || h.srcPort < firstPort {
			t.Errorf("%+v", h)
		}
		g.send(g.packet(opResponse, h.srcPort, 1024), nil)
		r := bufio.NewReader(c)
		if line, err := r.ReadString('\n'); line != fmt.Sprintf("OK %d\n", h.srcPort) || err != nil {
			t.Errorf("%q, %v", line, err)
		}
		got := ""
		for len(got) < len("early data") {
			_, p := g.recv()
			got += string(p)
		}
		if got != "early data" {
			t.Errorf("cut %d: guest got %q", cut, got)
		}
	}
}

func TestHybridRefusals(t *testing.T) {
	g := newFakeGuest(t, func(c *Config) { c.HandshakeTimeout = time.Hour })
	for _, line := range []string{"GET / HTTP/1.0\n", "CONNECT x\n", "CONNECT 4294967296\n", "\n", strings.Repeat("A", 1000),
		"CONNECT " + strings.Repeat("0", 100), "CON"} {
		c := connectUDS(t, g.dev)
		_, _ = c.Write([]byte(line))
		if line == "CON" {
			_ = c.CloseWrite()
		}
		if b, err := io.ReadAll(c); len(b) != 0 || err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%.20q: %q, %v", line, b, err)
		}
	}
	g.quiet()
	if n := g.dev.Stats().Refused; n != 6 {
		t.Errorf("%d refused", n)
	}
}

// TestHybridNoGuest: without a driver the client is told at once, by the end.
func TestHybridNoGuest(t *testing.T) {
	d := newDevice(t, nil)
	c := connectUDS(t, d)
	_, _ = c.Write([]byte("CONNECT 1\n"))
	if b, err := io.ReadAll(c); len(b) != 0 || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func TestTimeouts(t *testing.T) {
	g := newFakeGuest(t, func(c *Config) { c.HandshakeTimeout, c.ConnectTimeout = 50*time.Millisecond, 80*time.Millisecond })
	silent := connectUDS(t, g.dev)
	if b, err := io.ReadAll(silent); len(b) != 0 || err != nil {
		t.Errorf("silent client: %q, %v", b, err)
	}
	errs := make(chan error, 1)
	go func() {
		_, err := g.dev.Dial(t.Context(), 7)
		errs <- err
	}()
	g.expect(opRequest)
	if err := <-errs; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("silent guest: %v", err)
	}
	g.expect(opReset)
	g.empty()
}

// TestDialCancelled: the guest is told, and a late answer changes nothing.
func TestDialCancelled(t *testing.T) {
	g := newFakeGuest(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 1)
	go func() {
		_, err := g.dev.Dial(ctx, 7)
		errs <- err
	}()
	h := g.expect(opRequest)
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	g.expect(opReset)
	g.send(g.packet(opResponse, h.srcPort, 7), nil)
	g.expect(opReset)
	g.empty()
}

// TestPendingLimit opens more than may be pending: the others wait their turn and then succeed.
func TestPendingLimit(t *testing.T) {
	g := newFakeGuest(t, nil)
	const n = MaxPending + 20
	results := make(chan error, n)
	for range n {
		go func() {
			c, err := g.dev.Dial(context.Background(), 7)
			if err == nil {
				_ = c.Close()
			}
			results <- err
		}()
	}
	var asked []uint32
	for range MaxPending {
		asked = append(asked, g.expect(opRequest).srcPort)
	}
	g.quiet()
	for len(asked) > 0 {
		g.send(g.packet(opResponse, asked[0], 7), nil)
		asked = asked[1:]
		for h, _, ok := g.poll(); ok; h, _, ok = g.poll() {
			switch h.op {
			case opRequest:
				asked = append(asked, h.srcPort)
			case opShutdown:
				g.send(g.packet(opReset, h.srcPort, 7), nil)
			}
		}
		time.Sleep(time.Millisecond)
	}
	for range n {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// TestLastInLine: the one that waits for room gets it when all others are answered at once, though nothing else happens.
func TestLastInLine(t *testing.T) {
	g := newFakeGuest(t, nil)
	var asked []uint32
	for range MaxPending {
		c := connectUDS(t, g.dev)
		_, _ = c.Write([]byte("CONNECT 7\n"))
		asked = append(asked, g.expect(opRequest).srcPort)
	}
	last := connectUDS(t, g.dev)
	_, _ = last.Write([]byte("CONNECT 8\n"))
	g.quiet()
	for _, port := range asked[:20] { // fewer than a batch
		g.put(g.packet(opReset, port, 7))
	}
	frontend.Kick(g.txKick)
	if h := g.expect(opRequest); h.dstPort != 8 {
		t.Errorf("%+v", h)
	}
}

// TestConnectionLimit: the guest cannot have more than MaxConnections.
func TestConnectionLimit(t *testing.T) {
	g := newFakeGuest(t, nil)
	l, err := net.Listen("unix", g.dev.cfg.UDS+"_80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
		}
	}()
	for i := range uint32(MaxConnections) {
		g.send(g.packet(opRequest, 80, i), nil)
		g.expect(opResponse)
	}
	g.send(g.packet(opRequest, 80, MaxConnections), nil)
	g.expect(opReset)
	if _, err := g.dev.Dial(contextSoon(t), 7); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dial beyond the limit: %v", err)
	}
	g.send(g.packet(opReset, 80, 3), nil) // makes room
	g.send(g.packet(opRequest, 80, 3), nil)
	for { // either the dial that waited, or this, comes first
		if h, _ := g.recv(); h.op == opResponse || h.op == opReset {
			break
		}
	}
}

func contextSoon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}
