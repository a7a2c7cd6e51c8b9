package netperf

import (
	"context"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain fails when goroutines or descriptors are left over.
func TestMain(m *testing.M) {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = l.Close() // the runtime's poller has descriptors from now on
	}
	before := descriptors()
	code := m.Run()
	if code == 0 {
		code = leaks(before)
	}
	os.Exit(code)
}

func leaks(before int) int {
	if err := goleak.Find(); err != nil {
		fmt.Println(err)
		return 1
	}
	for range 50 {
		if descriptors() <= before {
			return 0
		}
		time.Sleep(20 * time.Millisecond)
	}
	fmt.Printf("descriptors: %d before, %d after the tests\n", before, descriptors())
	return 1
}

func descriptors() int {
	e, _ := os.ReadDir("/proc/self/fd")
	return len(e)
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
