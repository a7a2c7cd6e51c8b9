package netperf

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dial opens a bare control connection.
func dial(t testing.TB, host string, port int) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	return conn.(*net.TCPConn)
}

// ask sends a message and returns the answer.
func ask(t testing.TB, conn net.Conn, m *Message) *Message {
	t.Helper()
	if err := m.write(conn); err != nil {
		t.Fatal(err)
	}
	answer := new(Message)
	if err := answer.read(conn); err != nil {
		t.Fatalf("answer: %v", err)
	}
	return answer
}

func TestServerSurvivesMalformedPeers(t *testing.T) {
	port := serve(t, &Server{}, "127.0.0.1")
	request := good().message()
	for name, play := range map[string]func(*testing.T, *net.TCPConn){
		"nothing":             func(*testing.T, *net.TCPConn) {},
		"one byte":            func(_ *testing.T, c *net.TCPConn) { _, _ = c.Write([]byte{1}) },
		"message of 2.5":      func(_ *testing.T, c *net.TCPConn) { _, _ = c.Write(request[:256]) },
		"text":                func(_ *testing.T, c *net.TCPConn) { _, _ = c.Write([]byte("GET / HTTP/1.1\r\n\r\n")) },
		"reset":               func(_ *testing.T, c *net.TCPConn) { _ = c.SetLinger(0) },
		"half-closed":         func(_ *testing.T, c *net.TCPConn) { _ = c.CloseWrite() },
		"gone before data":    func(t *testing.T, c *net.TCPConn) { ask(t, c, request) },
		"half-closed, test":   func(t *testing.T, c *net.TCPConn) { ask(t, c, request); _ = c.CloseWrite() },
		"two tests, one read": func(_ *testing.T, c *net.TCPConn) { _, _ = c.Write(append(request[:], request[:]...)) },
		"unknown kind": func(t *testing.T, c *net.TCPConn) {
			if s := ask(t, c, statusMessage(300, 0)).Status(); s != errUnknownTest {
				t.Errorf("status %d", s)
			}
		},
		"debug": func(t *testing.T, c *net.TCPConn) {
			if k := ask(t, c, statusMessage(kindDebugOn, 0)).Kind(); k != kindDebugOK {
				t.Errorf("kind %d", k)
			}
		},
		"calibrate": func(t *testing.T, c *net.TCPConn) {
			if n := ask(t, c, statusMessage(kindCPUCalibrate, 0)).word(1); n < 1 {
				t.Errorf("%d CPUs", n)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, "127.0.0.1", port)
			play(t, conn)
			_ = conn.Close()
			works(t, port)
		})
	}
}

// works does a test to see that the server still can.
func works(t *testing.T, port int) {
	t.Helper()
	if _, err := Measure(context.Background(), config(t, "TCP_RR", "127.0.0.1", port, -5), Repeat{}); err != nil {
		t.Errorf("after that: %v", err)
	}
}

func TestServerRefusesBadRequestsAndStays(t *testing.T) {
	port := serve(t, &Server{}, "127.0.0.1")
	conn := dial(t, "127.0.0.1", port)
	for name, spoil := range bad {
		r := good()
		spoil(r)
		if s := ask(t, conn, r.message()).Status(); s != int32(unix.EINVAL) {
			t.Errorf("%s: status %d", name, s)
		}
	}
	if s := ask(t, conn, good().message()).Status(); s != 0 {
		t.Errorf("good request after bad ones: status %d", s)
	}
	works(t, port)
}

// TestPeerVanishesInTheTest lets clients go in the middle of each test: the server must end it.
func TestPeerVanishesInTheTest(t *testing.T) {
	port := serve(t, &Server{}, "127.0.0.1")
	for _, test := range []string{"TCP_STREAM", "TCP_MAERTS", "UDP_STREAM", "TCP_RR", "UDP_RR", "TCP_CRR"} {
		c := config(t, test, "127.0.0.1", port, 60)
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		start := time.Now()
		_, err := Measure(ctx, c, Repeat{})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 30*time.Second {
			t.Errorf("%s: %v after %v", test, err, time.Since(start))
		}
	}
	works(t, port)
}

// TestCountedConnectionsTakeTheirTime: only a TCP_CRR by time ends by itself.
func TestCountedConnectionsTakeTheirTime(t *testing.T) {
	port := serve(t, &Server{Log: t.Logf}, "127.0.0.1")
	r := good()
	r.Flags, r.Length = flagConnect, -2
	conn := dial(t, "127.0.0.1", port)
	data := parseResponse(ask(t, conn, r.message())).DataPort
	for range 2 {
		c := dial(t, "127.0.0.1", int(data))
		if _, err := c.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(crrIdleTime + 200*time.Millisecond)
	}
	m := new(Message)
	if err := m.read(conn); err != nil || parseResults(m).Transactions != 2 {
		t.Errorf("%v, %+v", err, parseResults(m))
	}
}

// TestResultsBeforeTheEnd: a server that says in the middle of a test that it failed is listened to.
func TestResultsBeforeTheEnd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	data, err := net.ListenPacket("udp", "127.0.0.1:0") // nobody reads there
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_ = new(Message).read(c)
		_ = (&response{DataPort: int32(data.LocalAddr().(*net.UDPAddr).Port)}).message().write(c)
		_ = statusMessage(kindOmniResults, int32(unix.EIO)).write(c)
		_, _ = io.Copy(io.Discard, c)
	}()
	start := time.Now()
	_, err = Measure(context.Background(), config(t, "UDP_RR", "127.0.0.1", l.Addr().(*net.TCPAddr).Port, 600), Repeat{})
	if !errors.Is(err, errEarly) || time.Since(start) > time.Minute {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	<-done
}

// TestServerEndsInTheTest ends the server in the middle of each test: the client must say so soon.
func TestServerEndsInTheTest(t *testing.T) {
	for _, test := range []string{"TCP_STREAM", "TCP_MAERTS", "UDP_STREAM", "TCP_RR", "UDP_RR", "TCP_CRR"} {
		t.Run(test, func(t *testing.T) {
			t.Parallel()
			l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			defer cancel()
			served := make(chan error)
			go func() { served <- new(Server).Serve(ctx, l) }()
			start := time.Now()
			_, err = Measure(context.Background(), config(t, test, "127.0.0.1", l.Addr().(*net.TCPAddr).Port, 60), Repeat{})
			if err == nil || time.Since(start) > 30*time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			if err := <-served; err != nil {
				t.Errorf("Serve: %v", err)
			}
		})
	}
}

func TestClientMeetsBadServers(t *testing.T) {
	status := func(n int32) func(net.Conn) {
		return func(c net.Conn) { _ = statusMessage(kindOmniResponse, n).write(c) }
	}
	for name, tc := range map[string]struct {
		play func(net.Conn)
		want string
	}{
		"closes":       {func(net.Conn) {}, "closed the control connection"},
		"short":        {func(c net.Conn) { _, _ = c.Write(make([]byte, 100)) }, "inside of it"},
		"unknown test": {status(errUnknownTest), "does not know this test"},
		"errno":        {status(int32(unix.EACCES)), "permission denied"},
		"odd status":   {status(-77), "remote error -77"},
		"no port":      {status(0), "data port 0"},
		"dead port": {func(c net.Conn) {
			_ = (&response{DataPort: 1}).message().write(c)
			_, _ = io.Copy(io.Discard, c)
		}, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			done := make(chan struct{})
			go func() {
				defer close(done)
				c, err := l.Accept()
				if err != nil {
					return
				}
				_ = new(Message).read(c)
				tc.play(c)
				_ = c.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			}()
			c := config(t, "TCP_STREAM", "127.0.0.1", l.Addr().(*net.TCPAddr).Port, 1)
			if _, err := Measure(context.Background(), c, Repeat{}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			<-done
		})
	}
}

func TestAllow(t *testing.T) {
	for _, tc := range []struct {
		allow string
		ok    bool
	}{{"127.0.0.0/8", true}, {"192.0.2.0/24", false}, {"::/0", false}, {"192.0.2.1,127.0.0.1", true}} {
		o, err := ParseServerOptions([]string{"--allow", tc.allow})
		if err != nil {
			t.Fatal(err)
		}
		port := serve(t, &o.Server, "127.0.0.1")
		_, err = Measure(context.Background(), config(t, "TCP_RR", "127.0.0.1", port, -5), Repeat{})
		if (err == nil) != tc.ok {
			t.Errorf("allow %s: %v", tc.allow, err)
		}
	}
}

func TestDataFromOthersIsNotTaken(t *testing.T) {
	s := &Server{}
	host := netip.MustParseAddr("192.0.2.1")
	other := netip.MustParseAddr("192.0.2.2")
	if !s.mayBringData(host, host) || s.mayBringData(other, host) || s.mayBringData(netip.MustParseAddr("127.0.0.1"), host) {
		t.Error("without a list only the client itself may bring data")
	}
	s.Allow = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	if !s.mayBringData(other, host) || s.mayBringData(netip.MustParseAddr("198.51.100.1"), host) {
		t.Error("with a list those on it may")
	}
}

func TestManyClientsAtOnce(t *testing.T) {
	port := serve(t, &Server{MaxClients: 4}, "127.0.0.1")
	const n = 12 // more than there are places: the rest wait
	errs := make(chan error, n)
	for range n {
		go func() {
			_, err := Measure(context.Background(), config(t, "TCP_RR", "127.0.0.1", port, -50), Repeat{})
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func FuzzServer(f *testing.F) {
	f.Add(good().message()[:])
	f.Add(statusMessage(kindDebugOn, 0)[:])
	f.Add([]byte("junk"))
	crr := good()
	crr.Flags, crr.Length = flagConnect, -1
	f.Add(append(crr.message()[:], statusMessage(kindCPUCalibrate, 0)[:]...))
	port := serve(f, &Server{}, "127.0.0.1")
	f.Fuzz(func(t *testing.T, data []byte) {
		conn := dial(t, "127.0.0.1", port)
		_ = conn.SetLinger(0)
		_, _ = conn.Write(data)
		_ = conn.CloseWrite()
		if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, unix.ECONNRESET) {
			t.Fatalf("server does not end the connection: %v", err)
		}
	})
}

// TestConnectionsOfABadServer: what a server may do to a connection ends the test with an error that tells of it, or when the
// test's context ends, and leaves no descriptor.
func TestConnectionsOfABadServer(t *testing.T) {
	gone := errors.New("gone")
	for name, tc := range map[string]struct {
		play func(net.Conn)
		want string
	}{
		"closes":     {func(c net.Conn) { _ = c.Close() }, "closed the connection"},
		"resets":     {func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); _ = c.Close() }, "reset"},
		"says more":  {func(c net.Conn) { _, _ = c.Write([]byte("more")); _ = c.Close() }, "more than the answer"},
		"says none":  {func(net.Conn) {}, gone.Error()},
		"ends never": {func(c net.Conn) { _, _ = c.Write([]byte("a")) }, gone.Error()},
		"refuses":    {nil, "connect data socket to 127.0.0.1:"},
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			if tc.play == nil {
				_ = listener.Close()
			} else {
				go func() {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					t.Cleanup(func() { _ = conn.Close() })
					_, _ = io.ReadFull(conn, make([]byte, 1))
					tc.play(conn)
					time.AfterFunc(50*time.Millisecond, func() { cancel(gone) })
				}()
			}
			stop := newStopper(ctx)
			defer stop.release()
			o := &dataOptions{Protocol: unix.IPPROTO_TCP, Local: netip.MustParseAddrPort("127.0.0.1:0"), Priority: -1, TOS: -1}
			x := newReconnection(&transfer{stop: stop}, o, listener.Addr().(*net.TCPAddr).AddrPort(), []byte("q"), make([]byte, 1))
			stop.guard(x, unix.SHUT_RDWR)
			err = x.ask(1)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if err == nil || tc.play != nil && x.live.Load() != noneLive {
				t.Errorf("socket %d is left", x.live.Load())
			}
		})
	}
}
