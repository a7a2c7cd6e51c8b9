package netperf

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var hosts = []string{"127.0.0.1", "::1"}

// TestOurs runs each test with both sides ours, ended by a count so that it is quick and exact. To measure what each
// transaction takes is another way to make them.
func TestOurs(t *testing.T) {
	for _, host := range hosts {
		port := serve(t, &Server{Log: t.Logf}, host)
		for _, tc := range []struct {
			test    string
			length  int
			request int
		}{
			{"TCP_STREAM", -3_000_001, 1}, {"TCP_MAERTS", -3_000_001, 1}, {"UDP_STREAM", -100_000, 1},
			{"TCP_RR", -200, 1}, {"TCP_RR", -20, 100_000}, {"UDP_RR", -200, 1}, {"UDP_RR", -20, 9000}, {"TCP_CRR", -30, 1},
		} {
			for _, latency := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/latency=%v", tc.test, host, latency), func(t *testing.T) {
					c := config(t, tc.test, host, port, tc.length)
					c.Request, c.Response, c.Latency = tc.request, tc.request+1, latency
					c.Local.MeasureCPU, c.Remote.MeasureCPU = true, true
					c.Local.SendSize = 1400
					r, err := Measure(context.Background(), c, Repeat{})
					if err != nil {
						t.Fatal(err)
					}
					agree(t, r)
					if amount := -tc.length; r.spec.Direction == RR && r.Transactions != uint64(amount) || r.spec.Direction != RR && !r.spec.udp() && r.bytes() != uint64(amount) {
						t.Errorf("%d transactions, %d bytes, want %d", r.Transactions, r.bytes(), amount)
					}
					if l := r.Latency; (l != nil) != latency || latency && (l.Count == 0 || l.P50 > l.P99 || l.Max < l.P99) {
						t.Errorf("latency %+v", l)
					}
				})
			}
		}
	}
}

// agree checks that both sides counted the same.
func agree(t *testing.T, r *Result) {
	t.Helper()
	l, f := &r.Local, &r.Remote
	if r.spec.udp() && r.spec.Direction == Send {
		if f.BytesReceived > l.BytesSent || f.BytesReceived == 0 {
			t.Errorf("sent %d bytes, %d received", l.BytesSent, f.BytesReceived)
		}
	} else if l.BytesSent != f.BytesReceived || l.BytesReceived != f.BytesSent {
		t.Errorf("sent %d bytes of which %d received, received %d of %d", l.BytesSent, f.BytesReceived, l.BytesReceived, f.BytesSent)
	}
	if r.Throughput <= 0 || r.rate() <= 0 || r.Elapsed <= 0 {
		t.Errorf("rate %v in %v s", r.rate(), r.Elapsed)
	}
	if !r.spec.udp() && (l.Congestion == "" || f.Congestion == "") {
		t.Errorf("congestion control %q and %q", l.Congestion, f.Congestion)
	}
}

func TestByTime(t *testing.T) {
	port := serve(t, &Server{Log: t.Logf}, "127.0.0.1")
	for _, test := range []string{"TCP_STREAM", "TCP_MAERTS", "UDP_STREAM", "TCP_RR", "UDP_RR", "TCP_CRR"} {
		t.Run(test, func(t *testing.T) {
			t.Parallel()
			c := config(t, test, "127.0.0.1", port, 1)
			c.Local.MeasureCPU, c.Remote.MeasureCPU = true, true
			c.Interim = 200 * time.Millisecond
			var seen, total uint64
			c.OnInterim = func(i Interim) { seen++; total += i.Units }
			start := time.Now()
			r, err := Measure(context.Background(), c, Repeat{})
			if err != nil {
				t.Fatal(err)
			}
			if r.Elapsed < 0.99 || r.Elapsed > time.Since(start).Seconds() {
				t.Errorf("took %v s of %v", r.Elapsed, time.Since(start))
			}
			if !r.Local.CPU.measured() || !r.Remote.CPU.measured() || r.Local.CPU.Total <= 0 || r.Local.Demand <= 0 {
				t.Errorf("CPU use %+v, %+v, demand %v", r.Local.CPU, r.Remote.CPU, r.Local.Demand)
			}
			if seen < 3 || total == 0 {
				t.Errorf("%d interim results with %d units", seen, total)
			}
			if test != "UDP_STREAM" && test != "TCP_CRR" && test != "TCP_RR" && test != "UDP_RR" {
				agree(t, r)
			}
		})
	}
}

func TestOptionsReachTheSockets(t *testing.T) {
	port := serve(t, &Server{Log: t.Logf}, "127.0.0.1")
	c := config(t, "TCP_STREAM", "127.0.0.1", port, -100_000)
	c.Local.Congestion, c.Remote.Congestion = "reno", "reno"
	c.Local.SendBuffer, c.Remote.RecvBuffer, c.Local.NoDelay, c.Remote.NoDelay = 50_000, 60_000, true, true
	c.Local.SendSize, c.Remote.RecvSize, c.Local.CPU, c.Remote.CPU = 1000, 2000, 0, 0
	c.Keepalive, c.Local.TOS, c.Remote.TOS = true, 0x10, 0x10
	r, err := Measure(context.Background(), c, Repeat{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Local.Congestion != "reno" || r.Remote.Congestion != "reno" {
		t.Errorf("congestion control %q and %q", r.Local.Congestion, r.Remote.Congestion)
	}
	if r.Local.SendBuffer != 100_000 || r.Remote.RecvBuffer != 120_000 || r.Local.SendSize != 1000 || r.Remote.RecvSize != 2000 || r.Local.SendCalls != 100 {
		t.Errorf("local %+v\nremote %+v", r.Local, r.Remote)
	}
	c.Local.Congestion = "nosuch"
	if _, err := Measure(context.Background(), c, Repeat{}); err == nil {
		t.Error("unknown congestion control: no error")
	}
}

func TestBurst(t *testing.T) {
	port := serve(t, &Server{Log: t.Logf}, "127.0.0.1")
	c := config(t, "TCP_RR", "127.0.0.1", port, -1000)
	c.Burst = 16
	for _, c.Latency = range []bool{true, false} {
		r, err := Measure(context.Background(), c, Repeat{})
		if err != nil {
			t.Fatal(err)
		}
		if r.Transactions != 1000 || c.Latency && r.Latency.Count != 1000 || r.Remote.BytesReceived != 1000 {
			t.Errorf("latency %v: %+v", c.Latency, r)
		}
	}
}

func TestDataOfTheOtherFamily(t *testing.T) {
	if _, err := net.ResolveTCPAddr("tcp6", "localhost:1"); err != nil {
		t.Skip("localhost has no IPv6 address here")
	}
	port := serve(t, &Server{Log: t.Logf}, "::1")
	c := config(t, "TCP_RR", "localhost", port, -10)
	c.Family, c.DataFamily = 6, 4
	r, err := Measure(context.Background(), c, Repeat{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Remote.Address != "127.0.0.1" || r.Transactions != 10 {
		t.Errorf("%+v", r)
	}
}

// TestConnectOutlastsTheTimeout: the connections of a TCP_CRR with latencies are awaited for longer than their sockets' timeouts
// of a second.
// The listener's queue is full at first: its kernel drops what comes (listen(2)).
func TestConnectOutlastsTheTimeout(t *testing.T) {
	o := &dataOptions{Protocol: unix.IPPROTO_TCP, Local: netip.MustParseAddrPort("127.0.0.1:0"), Priority: -1, TOS: -1}
	listener, err := newSocket(o)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := unix.Listen(listener.fd, 0); err != nil {
		t.Fatal(err)
	}
	connect := func() error {
		s, err := newSocket(o)
		if err != nil {
			return err
		}
		defer s.Close()
		s.timeouts(true)
		return s.connect(listener.local())
	}
	if err := connect(); err != nil { // fills the queue
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- connect() }()
	select {
	case err := <-done:
		t.Fatalf("connected to a full queue: %v", err)
	case <-time.After(1500 * time.Millisecond):
	}
	for range 2 {
		s, _, err := listener.accept()
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
