package verbs_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/wire"
)

// netserver starts one on the far endpoint and returns its port.
func netserver(t *testing.T, p *pair, args ...string) (*client.Load, string) {
	t.Helper()
	server, err := p.b.Serve(t.Context(), client.LoadOptions{Generator: "netserver", Args: append([]string{"-4", "-p", "0"}, args...)})
	must(t, err)
	_, port, err := net.SplitHostPort(server.Ready)
	must(t, err)
	return server, port
}

func TestNetperf(t *testing.T) {
	p := newPair(t)
	server, port := netserver(t, p, "-allow", "10.9.0.0/24")
	for _, test := range []string{"TCP_STREAM -l -3000000", "TCP_MAERTS -l -3000000", "UDP_STREAM -l -100000", "TCP_RR -l -200", "UDP_RR -l -200", "TCP_CRR -l -20"} {
		r, err := p.a.Netperf(t.Context(), append([]string{"-H", p.bIP.String(), "-p", port, "-t"}, strings.Fields(test)...)...)
		must(t, err)
		if r.Throughput <= 0 || r.Elapsed <= 0 || !strings.HasPrefix(test, r.Test) || len(r.JSON) == 0 {
			t.Errorf("%s: %+v", test, r)
		}
		if strings.HasPrefix(test, "TCP") && (r.Local.Congestion == "" || r.Remote.Congestion == "") {
			t.Errorf("%s: congestion control %q and %q", test, r.Local.Congestion, r.Remote.Congestion)
		}
		if strings.Contains(test, "RR") && (r.Transactions == 0 || r.TransactionRate <= 0) {
			t.Errorf("%s: %+v", test, r)
		}
	}
	_, err := server.Stop()
	must(t, err)
}

func TestNetperfTellsProgress(t *testing.T) {
	p := newPair(t)
	server, port := netserver(t, p)
	var told []float64
	run, err := p.a.Load(t.Context(), client.LoadOptions{Generator: "netperf", Args: []string{"-H", p.bIP.String(), "-p", port, "-l", "1", "-D", "0.05"},
		OnProgress: func(b json.RawMessage) {
			var v struct{ Units, Seconds float64 }
			must(t, json.Unmarshal(b, &v))
			told = append(told, v.Units)
		}})
	must(t, err)
	_, err = run.Wait()
	must(t, err)
	if len(told) < 5 || slices.Max(told) == 0 {
		t.Errorf("progress %v", told)
	}
	_, err = server.Stop()
	must(t, err)
}

// TestLoadIsGivenUp ends tests and servers in the middle in every way that a client can.
func TestLoadIsGivenUp(t *testing.T) {
	p := newPair(t)
	server, port := netserver(t, p)
	args := []string{"-H", p.bIP.String(), "-p", port, "-l", "60"}
	begun := make(chan struct{}, 100)
	progress := func(json.RawMessage) { begun <- struct{}{} }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := client.LoadOptions{Generator: "netperf", Args: append([]string{"-D", "0.05"}, args...), OnProgress: progress}
	given, err := p.a.Load(ctx, o)
	must(t, err)
	go func() { <-begun; cancel() }()
	if _, err := given.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	stopped, err := p.a.Load(t.Context(), client.LoadOptions{Generator: "netperf", Args: args})
	must(t, err)
	if _, err := stopped.Stop(); wire.CodeOf(err) != wire.Code_LOST {
		t.Errorf("stopped: %v (%v)", err, wire.CodeOf(err))
	}
	// A server that goes with clients on it ends them.
	last, err := p.a.Load(t.Context(), o)
	must(t, err)
	go func() {
		for len(begun) > 0 {
			<-begun
		}
		<-begun
		_, _ = server.Stop()
	}()
	if _, err := last.Wait(); wire.CodeOf(err) != wire.Code_GUEST {
		t.Errorf("server gone: %v (%v)", err, wire.CodeOf(err))
	}
}

// TestLinkDownInTheTest takes the link away in the middle of every kind of test: the client's keepalives find it out.
func TestLinkDownInTheTest(t *testing.T) {
	p := newPair(t)
	server, port := netserver(t, p)
	defer func() { _, err := server.Stop(); must(t, err) }()
	ends := make(chan error, 4)
	tests := []string{"TCP_STREAM", "TCP_RR", "UDP_STREAM", "TCP_CRR"}
	begun := make(chan struct{}, 1000)
	for _, test := range tests {
		run, err := p.a.Load(t.Context(), client.LoadOptions{Generator: "netperf", OnProgress: func(json.RawMessage) { begun <- struct{}{} },
			Args: []string{"-H", p.bIP.String(), "-p", port, "-l", "300", "-D", "0.1", "-t", test}})
		must(t, err)
		go func() {
			_, err := run.Wait()
			ends <- err
		}()
	}
	for range tests {
		<-begun
	}
	must(t, p.b.LinkDown(t.Context(), p.bLink))
	for range tests {
		select {
		case err := <-ends:
			if wire.CodeOf(err) != wire.Code_GUEST || !strings.Contains(err.Error(), "timed out") && !strings.Contains(err.Error(), "no route") {
				t.Errorf("link down: %v (%v)", err, wire.CodeOf(err))
			}
		case <-time.After(100 * time.Second):
			t.Fatal("a test does not end though its link is down")
		}
	}
}

func TestLoadErrors(t *testing.T) {
	c := local(t)
	for name, tt := range map[string]struct {
		o    client.LoadOptions
		code wire.Code
	}{
		"unknown":     {client.LoadOptions{Generator: "fork-bomb"}, wire.Code_UNSUPPORTED},
		"bad option":  {client.LoadOptions{Generator: "netperf", Args: []string{"-Z"}}, wire.Code_INVALID},
		"help":        {client.LoadOptions{Generator: "netperf", Args: []string{"--help"}}, wire.Code_INVALID},
		"server help": {client.LoadOptions{Generator: "netserver", Args: []string{"-V"}}, wire.Code_INVALID},
		"many":        {client.LoadOptions{Generator: "netperf", Args: make([]string, 300)}, wire.Code_TOO_BIG},
		"long":        {client.LoadOptions{Generator: "netperf", Args: []string{strings.Repeat("x", 70_000)}}, wire.Code_TOO_BIG},
		"nobody":      {client.LoadOptions{Generator: "netperf", Args: []string{"-H", "127.0.0.1", "-p", "9"}}, wire.Code_GUEST},
		"no address":  {client.LoadOptions{Generator: "netserver", Args: []string{"-L", "192.0.2.1"}}, wire.Code_GUEST},
	} {
		run, err := c.Load(t.Context(), tt.o)
		if err == nil {
			_, err = run.Wait()
		}
		if wire.CodeOf(err) != tt.code {
			t.Errorf("%s: %v (%v), want %v", name, err, wire.CodeOf(err), tt.code)
		}
	}
}
