package netperf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// series are the figures of one test, in bits or transactions a second. They grow from one -count to the next, so that
// the last line of a benchmark is the median of most pairs.
type series struct{ theirs, ours, ratios, arrived, iperf []float64 }

var measured = map[string]*series{}

// pairsPerRun is how many pairs each run of a benchmark adds; PICOLAB_PAIRS changes it.
const pairsPerRun = 2

// BenchmarkPairs measures the original on both sides and ours on both sides in turn, 1 s each, over the loopback link
// and over a veth pair in namespaces of their own, the sides on CPUs 0 and 1, all with cubic, and beside them iperf3
// where it is. ratio is the median of the ratios, low and high their extremes. Of datagrams it is of those sent; arrived is of
// those received, as a sender is the faster the more of its datagrams the system can throw away at a full socket.
//
// Processors are kept awake where that is allowed: to wake one of a virtual machine can take longer than a transaction,
// and how long is chance (TCP_CRR: 900 to 5900 a second, of which it makes 7500 to 9800 of both programs).
func BenchmarkPairs(b *testing.B) {
	keepAwake(b)
	dir := b.TempDir()
	if out, err := exec.Command("go", "build", "-o", dir, "picolab/cmd/netperf", "picolab/cmd/netserver").CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	pairs := pairsPerRun
	if n, err := strconv.Atoi(os.Getenv("PICOLAB_PAIRS")); err == nil {
		pairs = n
	}
	for _, place := range []string{"loopback", "veth"} {
		b.Run(place, func(b *testing.B) {
			s := newStage(b, place, dir)
			for _, test := range []string{"TCP_STREAM", "TCP_RR", "UDP_RR", "UDP_STREAM -- -m 8", "TCP_CRR"} {
				b.Run(strings.ReplaceAll(test, " ", ""), func(b *testing.B) { s.benchmark(b, place, test, pairs) })
			}
		})
	}
}

// stage is where pairs are measured: servers of both kinds, and the thread whose namespace the clients are in.
type stage struct {
	clients      *namespace
	host         string
	theirs, ours []string // how each client begins
	iperf        []string // nil: there is none
}

const (
	theirPort = "12865"
	ourPort   = "12866"
	iperfPort = "5201"
)

func newStage(b *testing.B, place, dir string) *stage {
	b.Helper()
	clients := newNamespace(b)
	servers, host := clients, "127.0.0.1"
	if place == "veth" {
		servers = newNamespace(b)
		host = join(b, clients, servers)
	}
	s := &stage{clients: clients, host: host}
	s.theirs = append(program(b, "netperf"), "-H", host, "-p", theirPort)
	s.ours = []string{filepath.Join(dir, "netperf"), "-H", host, "-p", ourPort}
	serve := func(port string, argv ...string) {
		servers.start(b, argv...)
		clients.await(b, net.JoinHostPort(host, port))
	}
	serve(theirPort, append(program(b, "netserver"), "-D", "-4", "-p", theirPort)...)
	serve(ourPort, filepath.Join(dir, "netserver"), "-D", "-4", "-p", ourPort)
	if iperf := find("iperf3"); iperf != nil {
		serve(iperfPort, append(slices.Clone(iperf), "-s", "-A", "1", "-p", iperfPort)...)
		s.iperf = append(iperf, "-c", host, "-p", iperfPort, "-t", "1", "-A", "0,1", "-C", "cubic", "-l", "16K", "-J")
	}
	return s
}

func (s *stage) benchmark(b *testing.B, place, test string, pairs int) {
	name, options, _ := strings.Cut(test, " -- ")
	args := append([]string{"-l", "1", "-P", "0", "-v", "0", "-T", "0,1", "-f", "m", "-t", name, "--"}, strings.Fields(options)...)
	if strings.Contains(name, "RR") {
		args = slices.DeleteFunc(args, func(a string) bool { return a == "-f" || a == "m" }) // transactions, not bits
	}
	if strings.HasPrefix(name, "TCP") {
		args = append(args, "-K", "cubic,cubic")
	}
	if name == "UDP_STREAM" {
		args = append(args, "-o", "LOCAL_SEND_THROUGHPUT,REMOTE_RECV_THROUGHPUT")
	}
	key := place + test
	if measured[key] == nil {
		measured[key] = &series{}
	}
	m := measured[key]
	for i := range pairs * b.N {
		var t, o []float64
		if i%2 == 0 {
			t, o = s.figures(b, s.theirs, args), s.figures(b, s.ours, args)
		} else {
			o, t = s.figures(b, s.ours, args), s.figures(b, s.theirs, args)
		}
		m.theirs, m.ours, m.ratios = append(m.theirs, t[0]), append(m.ours, o[0]), append(m.ratios, o[0]/t[0])
		if len(t) > 1 && len(o) > 1 {
			m.arrived = append(m.arrived, o[1]/t[1])
		}
		if name == "TCP_STREAM" && s.iperf != nil {
			m.iperf = append(m.iperf, s.throughput(b))
		}
	}
	m.report(b)
}

func (m *series) report(b *testing.B) {
	b.ReportMetric(median(m.theirs), "original")
	b.ReportMetric(median(m.ours), "ours")
	b.ReportMetric(median(m.ratios), "ratio")
	b.ReportMetric(slices.Min(m.ratios), "low")
	b.ReportMetric(slices.Max(m.ratios), "high")
	b.ReportMetric(float64(len(m.ratios)), "pairs")
	if len(m.arrived) > 0 {
		b.ReportMetric(median(m.arrived), "arrived-ratio")
	}
	if len(m.iperf) > 0 {
		b.ReportMetric(median(m.iperf), "iperf3")
	}
}

// figures are what a client measured, at least one.
func (s *stage) figures(b *testing.B, client, args []string) (all []float64) {
	text := s.clients.output(b, append(slices.Clone(client), args...)...)
	for word := range strings.SplitSeq(strings.TrimSpace(text), ",") {
		f, err := strconv.ParseFloat(strings.TrimSpace(word), 64)
		if err != nil {
			b.Fatalf("figures %q: %v", text, err)
		}
		all = append(all, f)
	}
	return all
}

// throughput is iperf3's, in Mbit/s as received.
func (s *stage) throughput(b *testing.B) float64 {
	var r struct {
		End struct {
			Received struct {
				Rate float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	if err := json.Unmarshal([]byte(s.clients.output(b, s.iperf...)), &r); err != nil {
		b.Fatalf("iperf3: %v", err)
	}
	return r.End.Received.Rate / 1e6
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// keepAwake asks for processors that wake at once, until the benchmark ends (Documentation/power/pm_qos_interface.rst).
func keepAwake(b *testing.B) {
	f, err := os.OpenFile("/dev/cpu_dma_latency", os.O_WRONLY, 0)
	if err == nil {
		b.Cleanup(func() { _ = f.Close() })
		_, err = f.Write(make([]byte, 4)) // microseconds, as an int32
	}
	if err != nil {
		b.Logf("processors may sleep: %v", err)
	}
}

// namespace is an operating system thread in a network namespace of its own.
type namespace struct{ calls chan func() }

// newNamespace starts one. Its thread ends with the benchmark, the namespace with the last process in it.
func newNamespace(b *testing.B) *namespace {
	b.Helper()
	n := &namespace{make(chan func())}
	begun := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := enterNamespace()
		begun <- err
		for f := range n.calls {
			f()
		}
	}()
	b.Cleanup(func() { close(n.calls) })
	if err := <-begun; err != nil {
		b.Skipf("no network namespace: %v", err)
	}
	return n
}

// do runs f in the namespace; what f starts is in it too.
func (n *namespace) do(f func() error) error {
	done := make(chan error)
	n.calls <- func() { done <- f() }
	return <-done
}

// start starts a server, which ends with the benchmark.
func (n *namespace) start(b *testing.B, argv ...string) {
	b.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	if err := n.do(cmd.Start); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// output is what a client prints.
func (n *namespace) output(b *testing.B, argv ...string) string {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 60*time.Second)
	defer cancel()
	var out []byte
	err := n.do(func() (err error) {
		out, err = exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
		return err
	})
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			out = append(out, exit.Stderr...)
		}
		b.Fatalf("%q: %v\n%s", argv, err, out)
	}
	return string(out)
}

// await waits for a server.
func (n *namespace) await(b *testing.B, address string) {
	b.Helper()
	err := fmt.Errorf("nobody listens on %s", address)
	for deadline := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		err = n.do(func() error {
			c, err := net.DialTimeout("tcp", address, time.Second)
			if err == nil {
				err = c.Close()
			}
			return err
		})
	}
	if err != nil {
		b.Fatal(err)
	}
}
