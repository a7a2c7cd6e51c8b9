package netperf

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"picolab/guestagent/internal/leak"
)

// TestMain fails when goroutines or descriptors are left over.
func TestMain(m *testing.M) {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = l.Close() // the runtime's poller has descriptors from now on
	}
	os.Exit(leak.Run(m))
}

// serve starts a server on a loopback address and returns its port. It ends, with its clients, before the test does.
func serve(t testing.TB, s *Server, host string) int {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.ParseIP(host)})
	if err != nil {
		t.Skipf("no %s on this machine: %v", host, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("server does not end with its context")
		}
	})
	return l.Addr().(*net.TCPAddr).Port
}

// config is a short test with a server on this machine.
func config(t testing.TB, test, host string, port, length int) *Config {
	t.Helper()
	kind, err := TestNamed(test)
	if err != nil {
		t.Fatal(err)
	}
	c := NewConfig(host, kind)
	c.Port, c.Length = port, length
	return c
}
