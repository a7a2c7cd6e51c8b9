package forward_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"picolab/guestagent/load/getopt"

	"golang.org/x/sys/unix"

	"picolab/guestagent/internal/netns"
	"picolab/guestagent/load/forward"
	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/load/pktgen/ports"
)

func TestMain(m *testing.M) { os.Exit(netns.Run(m)) }

// pair makes two ends of a cable.
func pair(t *testing.T, a, b string) {
	t.Helper()
	ip(t, "link", "add", a, "type", "veth", "peer", "name", b)
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", a).Run() })
	for _, name := range []string{a, b} {
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
		ip(t, "link", "set", name, "arp", "off", "up")
	}
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Skipf("ip %s (iproute2, CAP_NET_ADMIN): %v\n%s", strings.Join(args, " "), err, out)
	}
}

// start runs the command until stop, which returns what it printed.
func start(t *testing.T, opened int, line string) (stop func(cancel bool) (forward.Counters, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	var out bytes.Buffer
	all, ready, done := ports.All(), make(chan error, 4), make(chan error, 1)
	for scheme, open := range all {
		all[scheme] = func(ctx context.Context, name string, use pktgen.Use) (pktgen.Port, error) {
			p, err := open(ctx, name, use)
			ready <- err
			return p, err
		}
	}
	go func() {
		done <- forward.Main(ctx, pktgen.Stdio{Out: &out, Err: &bytes.Buffer{}}, all, strings.Fields(line+" --json"))
	}()
	for range opened {
		if err := <-ready; err != nil {
			<-done
			t.Skipf("%s: %v", line, err)
		}
	}
	return func(interrupt bool) (forward.Counters, error) {
		t.Helper()
		if interrupt {
			cancel()
		}
		err := <-done
		var c forward.Counters
		if e := json.Unmarshal(out.Bytes(), &c); e != nil {
			t.Errorf("%v: %s", e, out.String())
		}
		return c, err
	}
}

// ping is pkt-gen's, whose frames must come back.
func ping(t *testing.T, port string, count string) uint64 {
	t.Helper()
	return pktgenRun(t, "-f", "ping", "-n", count, "-i", port).Times.Count
}

func pktgenRun(t *testing.T, args ...string) pktgen.Result {
	t.Helper()
	o, err := pktgen.ParseOptions(args)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ports.All().Open(t.Context(), o.Port, pktgen.Use{Send: true, Receive: true})
	if err != nil {
		t.Skip(err)
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := pktgen.Run(ctx, p, o.Config, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBackAndForth(t *testing.T) {
	for _, kind := range []string{"packet:", "xdp:"} {
		for _, mode := range []string{"macswap", "io", "mac"} {
			pair(t, "fw0", "fw1")
			stop := start(t, 1, "-i "+kind+"fw1 -m "+mode)
			replies := ping(t, "packet:fw0", "100")
			c, err := stop(true)
			if err != nil || replies != 100 || c != (forward.Counters{100, 100, 0}) {
				t.Errorf("%s %s: %d replies, %+v, %v", kind, mode, replies, c, err)
			}
			ip(t, "link", "del", "fw0")
		}
	}
}

// TestBetweenPorts has a pong behind the forwarder: the frames go through it twice.
func TestBetweenPorts(t *testing.T) {
	pair(t, "fx0", "fx1")
	pair(t, "fy0", "fy1")
	stop := start(t, 2, "-i packet:fx1 -o xdp:fy0 -m io")
	back := start(t, 1, "-i packet:fy1 -m macswap -n 200")
	replies := ping(t, "xdp:fx0", "200")
	if c, err := back(false); err != nil || c.Sent != 200 {
		t.Errorf("far end: %+v, %v", c, err)
	}
	if c, err := stop(true); err != nil || replies != 200 || c != (forward.Counters{400, 400, 0}) {
		t.Errorf("%d replies, %+v, %v", replies, c, err)
	}
}

func TestLinkGoesDown(t *testing.T) {
	pair(t, "fz0", "fz1")
	stop := start(t, 1, "-i packet:fz1")
	ip(t, "link", "set", "fz1", "down")
	if _, err := stop(false); !errors.Is(err, unix.ENETDOWN) {
		t.Errorf("%v", err)
	}
}

func TestRefused(t *testing.T) {
	for _, line := range []string{"", "-i a -o a", "-i a -m route", "-i a -b 0", "-i a -D 1:2", "-i a x", "-q", "-i a -T 0", "-i a -n -1"} {
		if err := forward.Main(t.Context(), pktgen.Stdio{}, nil, strings.Fields(line)); !errors.Is(err, getopt.ErrUsage) {
			t.Errorf("%q: %v", line, err)
		}
	}
	var out bytes.Buffer
	if err := forward.Main(t.Context(), pktgen.Stdio{Out: &out}, nil, []string{"-h"}); err != nil || out.String() != forward.Manual {
		t.Errorf("help: %v", err)
	}
}
