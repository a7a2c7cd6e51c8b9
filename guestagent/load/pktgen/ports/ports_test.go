package ports_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picolab/guestagent/internal/netns"
	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/load/pktgen/ports"
)

func TestMain(m *testing.M) { os.Exit(netns.Run(m)) }

var pairs atomic.Int32

// pair makes two ends of a cable that carry nothing of the host's: no IPv6, no ARP.
func pair(t testing.TB) (a, b string) {
	t.Helper()
	n := pairs.Add(1)
	a, b = fmt.Sprintf("pg%da", n), fmt.Sprintf("pg%db", n)
	ip(t, "link", "add", a, "type", "veth", "peer", "name", b)
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", a).Run() })
	for _, name := range []string{a, b} {
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
		ip(t, "link", "set", name, "arp", "off", "up")
	}
	return a, b
}

// ip runs ip(8).
func ip(t testing.TB, args ...string) {
	t.Helper()
	path, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("ip(8) not installed (iproute2)")
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Skipf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// counter reads a counter of an interface, "rx_packets". The files in /sys may be of another namespace.
func counter(t testing.TB, name, field string) uint64 {
	t.Helper()
	out, err := exec.Command("ip", "-j", "-s", "link", "show", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	var links []struct {
		Stats64 map[string]map[string]uint64
	}
	if err := json.Unmarshal(out, &links); err != nil || len(links) != 1 {
		t.Fatalf("ip -s: %v\n%s", err, out)
	}
	side, what, _ := strings.Cut(field, "_")
	return links[0].Stats64[side][what]
}

// summary is what --json says at the end.
type summary struct {
	Type              string
	Packets, Bytes    uint64
	Dropped           uint64
	PPS               float64
	CPUPerPacket      float64 `json:"cpu_ns_per_packet"`
	Sequence          *pktgen.Sequence
	RTT               *pktgen.Times
	Kind              string
	ElapsedNanosecond int64 `json:"elapsed_ns"`
}

// job is a command that runs.
type job struct {
	t    testing.TB
	out  bytes.Buffer
	done chan error
	stop context.CancelFunc
}

// start runs a command line in the background, and returns when its port is open.
func start(t testing.TB, line string) *job {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	j := &job{t: t, done: make(chan error, 1), stop: cancel}
	opened := make(chan struct{})
	all := ports.All()
	for scheme, open := range all {
		all[scheme] = func(ctx context.Context, name string, use pktgen.Use) (pktgen.Port, error) {
			defer close(opened)
			return open(ctx, name, use)
		}
	}
	go func() {
		j.done <- pktgen.Main(ctx, pktgen.Stdio{Out: &j.out, Err: &bytes.Buffer{}}, all, strings.Fields(line+" -w 0 --json"))
	}()
	t.Cleanup(cancel)
	select {
	case <-opened:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: the port does not open", line)
	}
	return j
}

// wait returns the summary when the command has ended.
func (j *job) wait() (summary, error) {
	j.t.Helper()
	var err error
	select {
	case err = <-j.done:
	case <-time.After(60 * time.Second):
		j.t.Fatal("pkt-gen does not end")
	}
	lines := strings.Split(strings.TrimSpace(j.out.String()), "\n")
	var s summary
	if e := json.Unmarshal([]byte(lines[len(lines)-1]), &s); e != nil && err == nil {
		j.t.Fatalf("%v: %q", e, j.out.String())
	}
	return s, err
}

// must is wait for a command that must succeed.
func (j *job) must() summary {
	j.t.Helper()
	s, err := j.wait()
	if err != nil {
		j.t.Fatal(err)
	}
	return s
}

// kinds are the ports for interfaces.
var kinds = []string{"packet", "xdp"}

// need skips when the machine does not let us open a kind of port.
func need(t testing.TB, kind, name string) {
	t.Helper()
	for _, use := range []pktgen.Use{{Send: true, Size: 60}, {Receive: true}} {
		p, err := ports.All().Open(t.Context(), kind+":"+name, use)
		if err != nil {
			t.Skipf("no port of kind %s here (needs CAP_NET_RAW, CAP_BPF, AF_XDP): %v", kind, err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestCountersAgree compares what we say with what both ends of the cable counted.
func TestCountersAgree(t *testing.T) {
	for _, tx := range kinds {
		for _, rx := range kinds {
			t.Run(tx+" to "+rx, func(t *testing.T) {
				t.Parallel()
				a, b := pair(t)
				need(t, tx, a)
				need(t, rx, b)
				before := counter(t, a, "tx_packets")
				r := start(t, "-f rxseq -W -i "+rx+":"+b)
				s := start(t, "-f txseq -n 5003 -R 50000 -b 16 -l 101 -i "+tx+":"+a).must()
				got := r.must()
				if sent := counter(t, a, "tx_packets") - before; s.Packets != 5003 || sent != s.Packets {
					t.Errorf("we sent %d frames, the interface %d", s.Packets, sent)
				}
				if got.Packets+got.Dropped != 5003 || got.Bytes != got.Packets*101 {
					t.Errorf("received %d, dropped %d", got.Packets, got.Dropped)
				}
				if *got.Sequence != (pktgen.Sequence{Lost: got.Sequence.Lost}) || got.Sequence.Lost > got.Dropped {
					t.Errorf("sequence %+v", *got.Sequence)
				}
			})
		}
	}
}

// TestFlatOut sends as fast as it goes: nothing is lost unnoticed between our count and the interface's.
func TestFlatOut(t *testing.T) {
	for _, kind := range kinds {
		for _, threads := range []int{1, 2} {
			t.Run(kind+" "+strconv.Itoa(threads), func(t *testing.T) {
				t.Parallel()
				a, b := pair(t)
				need(t, kind, a)
				s := start(t, fmt.Sprintf("-f tx -n 60001 -p %d -i %s:%s", threads, kind, a)).must()
				sent, came := counter(t, a, "tx_packets"), counter(t, b, "rx_packets")
				if s.Packets != 60001 || sent != s.Packets || came != s.Packets {
					t.Errorf("we sent %d frames, the interface %d, and %d came", s.Packets, sent, came)
				}
			})
		}
	}
}

// TestReceiversShare has two threads receive, each frame once.
func TestReceiversShare(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			a, b := pair(t)
			need(t, kind, b)
			r := start(t, "-f rx -W -p 2 -i "+kind+":"+b)
			start(t, "-f tx -n 4000 -R 40000 -i packet:"+a).must()
			if got := r.must(); got.Packets+got.Dropped != 4000 {
				t.Errorf("received %d, dropped %d of 4000", got.Packets, got.Dropped)
			}
		})
	}
}

func TestPingPong(t *testing.T) {
	for _, kind := range kinds {
		for _, family := range []string{"-4", "-6"} {
			t.Run(kind+family, func(t *testing.T) {
				t.Parallel()
				a, b := pair(t)
				need(t, kind, a)
				pong := start(t, "-f pong -n 300 "+family+" -i "+kind+":"+b)
				s := start(t, "-f ping -n 300 "+family+" -i "+kind+":"+a).must()
				if p := pong.must(); s.RTT.Count != 300 || p.Packets != 300 || s.RTT.Min == 0 || s.RTT.P99 < s.RTT.P50 {
					t.Errorf("ping %+v, pong %d", s.RTT, p.Packets)
				}
			})
		}
	}
}

// TestTcpdumpAgrees has tcpdump, which checks checksums, look at what we send.
func TestTcpdumpAgrees(t *testing.T) {
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Skip("tcpdump(8) not installed")
	}
	for _, tc := range []struct{ args, want string }{
		{"-d 10.9.0.1:7777 -s 10.8.0.1:4053", "10.8.0.1.4053 > 10.9.0.1.7777: [udp sum ok]"},
		{"-6 -z -f txseq", "> fd01::1.1234: [udp sum ok] UDP, length"},
		{"-f txseq -l 1400 -l 100", "10.0.0.1.1234 > 10.1.0.1.1234: [udp sum ok] UDP, length"},
	} {
		a, b := pair(t)
		file := filepath.Join(t.TempDir(), "x.pcap")
		dump := exec.Command(tcpdump, "-i", b, "-c", "20", "-w", file, "--immediate-mode")
		ready := &watcher{word: "listening", seen: make(chan struct{})}
		dump.Stderr = ready
		if err := dump.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(30*time.Second, func() { _ = dump.Process.Kill() })
		<-ready.seen
		start(t, "-f tx "+tc.args+" -n 20 -i packet:"+a).must()
		if err := dump.Wait(); err != nil {
			t.Skipf("tcpdump: %v %s", err, ready.text.String())
		}
		kill.Stop()
		out, err := exec.Command(tcpdump, "-nnvvr", file).Output()
		if n := strings.Count(string(out), tc.want); err != nil || n != 20 || strings.Contains(string(out), "bad") {
			t.Errorf("%s: %d frames as wanted, %v\n%s", tc.args, n, err, out)
		}
		replay(t, file)
	}
}

// replay sends a file of tcpdump's and compares what arrives.
func replay(t *testing.T, file string) {
	t.Helper()
	a, b := pair(t)
	r := start(t, "-f rxseq -n 20 -i packet:"+b)
	start(t, "-f tx --once -P "+file+" -i packet:"+a).must()
	if got := r.must(); got.Packets != 20 || got.Sequence.Corrupt != 0 {
		t.Errorf("replay of %s: %+v", file, got)
	}
}

// watcher tells when a program has printed a word.
type watcher struct {
	text bytes.Buffer
	word string
	seen chan struct{}
}

func (w *watcher) Write(b []byte) (int, error) {
	w.text.Write(b)
	if w.word != "" && strings.Contains(w.text.String(), w.word) {
		w.word = ""
		close(w.seen)
	}
	return len(b), nil
}

// TestInterfaceGoesDown ends each function with an error that says so.
func TestInterfaceGoesDown(t *testing.T) {
	for _, kind := range kinds {
		for _, what := range []string{"-f tx", "-f rx", "-f ping", "-f pong"} {
			for _, fault := range [][]string{{"set", "down"}, {"del"}} {
				t.Run(kind+what+fault[0], func(t *testing.T) {
					t.Parallel()
					a, _ := pair(t)
					need(t, kind, a)
					j := start(t, what+" -R 1000 -i "+kind+":"+a)
					args := []string{"link", fault[0], a}
					ip(t, append(args, fault[1:]...)...)
					if _, err := j.wait(); !errors.Is(err, unix.ENETDOWN) && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ENXIO) {
						t.Errorf("%v", err)
					}
				})
			}
		}
	}
}

func TestOtherEndGoesDown(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			a, b := pair(t)
			need(t, kind, a)
			j := start(t, "-f tx -R 1000 -i "+kind+":"+a)
			ip(t, "link", "set", b, "down")
			if _, err := j.wait(); !errors.Is(err, unix.ENETDOWN) || !strings.Contains(err.Error(), "carrier") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	a, _ := pair(t)
	need(t, "xdp", a)
	for name, want := range map[string]string{"nosuch0": "no such", "packet:nosuch0": "no such", "xdp:nosuch0": "no such", "netmap:eth0": "netmap module", "tap:": "no name"} {
		_, err := ports.All().Open(t.Context(), name, pktgen.Use{Receive: true})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{a, "packet:" + a, "xdp:" + a} {
		if _, err := ports.All().Open(t.Context(), name, pktgen.Use{Send: true, Size: 1600}); err == nil || !strings.Contains(err.Error(), "too long") {
			t.Errorf("%s with frames of 1600 bytes: %v", name, err)
		}
	}
	ip(t, "link", "set", a, "down")
	if _, err := ports.All().Open(t.Context(), a, pktgen.Use{Send: true}); !errors.Is(err, unix.ENETDOWN) {
		t.Errorf("an interface that is down: %v", err)
	}
}

// TestBestTakesTurns finds AF_XDP taken by another program, and goes by AF_PACKET.
func TestBestTakesTurns(t *testing.T) {
	a, _ := pair(t)
	need(t, "xdp", a)
	first, err := ports.All().Open(t.Context(), a, pktgen.Use{Receive: true})
	if err != nil || first.Kind() != "AF_XDP" {
		t.Fatalf("%v, %v", first, err)
	}
	defer first.Close()
	second, err := ports.All().Open(t.Context(), a, pktgen.Use{Receive: true})
	if err != nil || second.Kind() != "AF_PACKET" {
		t.Fatalf("%v, %v", second, err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

func TestTap(t *testing.T) {
	name := fmt.Sprintf("pgt%d", pairs.Add(1))
	p, err := ports.All().Open(t.Context(), "tap:"+name, pktgen.Use{Send: true})
	if err != nil {
		t.Skipf("no tap device: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	hold := start(t, "-f rx -n 400 -i tap:"+name)
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
	s := start(t, "-f txseq -n 400 -l 500 -i packet:"+name).must() // less than the device's queue: nobody promises that it is emptied meanwhile
	if got := hold.must(); s.Packets != 400 || got.Packets < 400 {
		t.Errorf("sent %d to a tap device, received %d", s.Packets, got.Packets)
	}
	if got := start(t, "-f tx -n 900 -p 2 -i tap:"+name).must(); got.Packets != 900 {
		t.Errorf("sent %d from a tap device", got.Packets)
	}
	if err := exec.Command("ip", "link", "show", name).Run(); err == nil {
		t.Error("the device is still there")
	}
}

// TestVLANTagsStay sends tagged frames, whose tag the kernel takes out.
func TestVLANTagsStay(t *testing.T) {
	a, b := pair(t)
	for _, kind := range kinds {
		p, err := ports.All().Open(t.Context(), kind+":"+b, pktgen.Use{Receive: true})
		if err != nil {
			t.Skip(err)
		}
		frame := append([]byte("\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x81\x00\x20\x07\x88\xb5"), bytes.Repeat([]byte("tagged "), 10)...)
		sendOne(t, a, frame)
		if got := receiveOne(t, p); !bytes.Equal(got, frame) {
			t.Errorf("%s: %x, want %x", kind, got, frame)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

func sendOne(t *testing.T, name string, frame []byte) {
	t.Helper()
	p, err := ports.All()["packet"](t.Context(), name, pktgen.Use{Send: true, Size: len(frame), Queues: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	out := make([][]byte, 1)
	if n, err := p.Queues()[0].Reserve(out); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	out[0] = out[0][:copy(out[0], frame)]
	if err := p.Queues()[0].Send(out); err != nil {
		t.Fatal(err)
	}
}

func receiveOne(t *testing.T, p pktgen.Port) []byte {
	t.Helper()
	in := make([][]byte, 1)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, q := range p.Queues() {
			if n, err := q.Receive(in); n == 1 || err != nil {
				got := bytes.Clone(in[0])
				if err := errors.Join(err, q.Release()); err != nil {
					t.Fatal(err)
				}
				return got
			}
		}
	}
	t.Fatal("no frame")
	return nil
}

// TestNothingIsAllocated runs the loop of each kind of port for real.
func TestNothingIsAllocated(t *testing.T) {
	a, _ := pair(t)
	for _, kind := range kinds {
		need(t, kind, a)
		p, err := ports.All()[kind](t.Context(), a, pktgen.Use{Send: true, Size: 60, Queues: 1})
		if err != nil {
			t.Fatal(err)
		}
		q, frames := p.Queues()[0], make([][]byte, 32)
		batch := func() {
			n, err := q.Reserve(frames)
			for i := range n {
				frames[i] = frames[i][:60]
			}
			if err = errors.Join(err, q.Send(frames[:n])); err != nil {
				t.Fatal(err)
			}
		}
		batch()
		if n := testing.AllocsPerRun(100, batch); n != 0 {
			t.Errorf("%s: %v allocations for 32 frames", kind, n)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}
