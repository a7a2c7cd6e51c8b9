package linuxpktgen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picolab/guestagent/load/getopt"

	"golang.org/x/sys/unix"

	"picolab/guestagent/internal/leak"
)

func TestMain(m *testing.M) {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = l.Close() // the runtime's poller has descriptors from now on
	}
	os.Exit(leak.Run(m))
}

// result is what the kernel writes about a queue that sent 1000 frames.
const result = `Params: count 1000  min_pkt_size: 60  max_pkt_size: 60
     frags: 0  delay: 0  clone_skb: 0  ifname: eth0@%d
     flows: 0 flowlen: 0
     queue_map_min: 0  queue_map_max: 0
     dst_min: 10.1.0.1  dst_max: 10.1.0.1
     src_min:   src_max:
     src_mac: 02:00:00:00:00:01 dst_mac: ff:ff:ff:ff:ff:ff
     udp_src_min: 9  udp_src_max: 9  udp_dst_min: 9  udp_dst_max: 9
     src_mac_count: 0  dst_mac_count: 0
     Flags:
Current:
     pkts-sofar: 1000  errors: 0
     started: 1234us  stopped: 2468us idle: 34us
     seq_num: 1001  cur_dst_mac_offset: 0  cur_src_mac_offset: 0
     cur_saddr: 10.0.0.1  cur_daddr: 10.1.0.1
     cur_udp_dst: 9  cur_udp_src: 9
     cur_queue_map: 0
     flows: 0
Result: OK: 1234(c1200+d34) usec, 1000 (60byte,0frags)
  810372pps 388Mb/sec (388978560bps) errors: 0
`

// fake makes the module's files for n CPUs, and queues of eth0 that have sent.
func fake(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, "pgctrl", "")
	for i := range n {
		put(t, dir, fmt.Sprintf("kpktgend_%d", i), "")
		put(t, dir, fmt.Sprintf("eth0@%d", i), fmt.Sprintf(result, i))
	}
	return dir
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// recorder collects the commands written to a file of the fake, which is a named pipe.
func recorder(t *testing.T, path string) (commands func() []string) {
	t.Helper()
	_ = os.Remove(path)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Skipf("mkfifo: %v", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return func() []string {
		buf := make([]byte, 65536)
		_ = f.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		n, _ := f.Read(buf)
		return strings.Split(strings.TrimSpace(string(buf[:n])), "\n")
	}
}

func TestCommandsToTheKernel(t *testing.T) {
	dir := fake(t, 1)
	thread, device, control := recorder(t, filepath.Join(dir, "kpktgend_0")), recorder(t, filepath.Join(dir, "eth0@0")), recorder(t, filepath.Join(dir, "pgctrl"))
	o, err := parse(strings.Fields("-i eth0 -n 5 -s 100 -d 10.2.0.1 -S 10.3.0.1 -m 2:0:0:0:0:1 -M 2:0:0:0:0:2 -p 7 -c 3 -b 8 -R 1000 -w 20"))
	if err != nil {
		t.Fatal(err)
	}
	o.Dir = dir
	g, err := New(o.Config)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(thread(), "; "); got != "rem_device_all; add_device eth0@0" {
		t.Errorf("thread: %s", got)
	}
	want := "count 5; clone_skb 3; pkt_size 100; delay 20; queue_map_min 0; queue_map_max 0; udp_src_min 7; udp_src_max 7; udp_dst_min 7; udp_dst_max 7; " +
		"dst_mac 2:0:0:0:0:1; ratep 1000; burst 8; src_mac 2:0:0:0:0:2; dst_min 10.2.0.1; dst_max 10.2.0.1; src_min 10.3.0.1; src_max 10.3.0.1"
	if got := strings.Join(device(), "; "); got != want {
		t.Errorf("device:\n%s\n%s", got, want)
	}
	if err := write(filepath.Join(dir, "pgctrl"), "start"); err != nil || control()[0] != "start" {
		t.Errorf("control: %v", err)
	}
	if err := g.Close(); err != nil || thread()[0] != "rem_device_all" {
		t.Errorf("removal: %v", err)
	}
}

func TestAddresses6(t *testing.T) {
	c := Config{Destination: "fd00::1", Source: "fd00::2"}
	if got := strings.Join(c.addresses(), "; "); got != "dst6 fd00::1; src6 fd00::2" {
		t.Error(got)
	}
}

func TestRun(t *testing.T) {
	dir := fake(t, 3)
	var out bytes.Buffer
	// The fake's files of queues are overwritten by the settings, so results are put back when the run starts.
	control := recorder(t, filepath.Join(dir, "pgctrl"))
	o, err := parse(strings.Fields("-i eth0 2"))
	if err != nil || o.Queues != 3 {
		t.Fatalf("%d queues, %v", o.Queues, err)
	}
	o.Dir = dir
	g, err := New(o.Config)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		put(t, dir, fmt.Sprintf("eth0@%d", i), fmt.Sprintf(result, i))
	}
	queues, err := g.Run(t.Context(), nil)
	if err != nil || len(queues) != 3 || control()[0] != "start" {
		t.Fatalf("%v, %v", queues, err)
	}
	want := Queue{Name: "eth0@1", Packets: 1000, Bytes: 60000, Elapsed: 1234 * time.Microsecond, PPS: 810372, BPS: 388978560}
	if queues[1] != want {
		t.Errorf("%+v", queues[1])
	}
	if err := o.print(&out, append(queues, Total(queues))); err != nil ||
		!strings.Contains(out.String(), "total: 3000 packets in 0.001234 s, 2431116 pps, 1166935680 bps, 0 errors\n") {
		t.Errorf("%v\n%s", err, out.String())
	}
	now, err := g.progress()
	if err != nil || now[2].Packets != 1000 {
		t.Errorf("progress %v, %v", now, err)
	}
	for _, json := range []bool{false, true} {
		var line bytes.Buffer
		o.json = json
		o.progress(&line, now)
		if !strings.Contains(line.String(), "3000") || !strings.Contains(line.String(), "so far") || json != strings.HasPrefix(line.String(), "{") {
			t.Errorf("progress %q", line.String())
		}
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "kpktgend_2")); err != nil || string(b) != "rem_device_all\n" {
		t.Errorf("the last word to a thread: %q, %v", b, err)
	}
}

func TestInterrupted(t *testing.T) {
	dir := fake(t, 1)
	o, err := parse(strings.Fields("-i eth0"))
	if err != nil {
		t.Fatal(err)
	}
	o.Dir = dir
	g, err := New(o.Config)
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "eth0@0", fmt.Sprintf(result, 0))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if q, err := g.Run(ctx, nil); err != nil || q[0].Packets != 1000 {
		t.Errorf("%v, %v", q, err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

func TestMissing(t *testing.T) {
	var out bytes.Buffer
	for name, tc := range map[string]struct {
		dir  func() string
		line string
		want string
	}{
		"module": {t.TempDir, "-i eth0", "module pktgen is missing"},
		"CPU":    {func() string { return fake(t, 2) }, "-i eth0 -t 3", "no kernel thread of pktgen for CPU 2"},
		"file":   {func() string { return fake(t, 1) }, "-i eth1", "kpktgend_0"},
	} {
		dir := tc.dir()
		if name == "file" {
			_ = os.Remove(filepath.Join(dir, "kpktgend_0"))
			_ = os.Mkdir(filepath.Join(dir, "kpktgend_0"), 0o700)
		}
		err := Main(t.Context(), &out, dir, strings.Fields(tc.line))
		if err == nil || !strings.Contains(err.Error(), tc.want) || errors.Is(err, getopt.ErrUsage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestResultsOfOtherKinds(t *testing.T) {
	for text, want := range map[string]string{
		"Result: Idle\n":                     "Idle",
		"Result: ERROR: out of memory\n":     "out of memory",
		"":                                   "no result",
		"Result: OK: 1(c1+d0) usec, 5 (60by": "OK:",
	} {
		if _, err := parseResult("eth0@0", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	q, err := parseResult("x", "Result: OK: 2000(c1+d0) nsec, 5 (60byte,0frags)\n  7pps 0Mb/sec (8bps) errors: 9")
	if err != nil || q.Elapsed != 2*time.Microsecond || q.Errors != 9 {
		t.Errorf("%+v, %v", q, err)
	}
}

func TestRefused(t *testing.T) {
	for _, line := range []string{"", "-i", "-i eth0 -t 0", "-i eth0 x", "-i eth0 1 2", "-i eth0 -q", "-i eth0 -s 20", "-i eth0 -d a/b", "-i eth0 -p 70000"} {
		if err := Main(t.Context(), &bytes.Buffer{}, "", strings.Fields(line)); !errors.Is(err, getopt.ErrUsage) {
			t.Errorf("%q: %v", line, err)
		}
	}
	if _, err := parse([]string{"-i", "eth0\nadd_device eth1"}); err == nil {
		t.Error("a name with a line end was taken")
	}
	var out bytes.Buffer
	if err := Main(t.Context(), &out, "", []string{"--help"}); err != nil || out.String() != Manual {
		t.Errorf("help: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("-i eth0 -n 5 2", result)
	f.Add("-i x -d fd00::1", "Result: OK: 2000(c1+d0) nsec, 5 (60byte,0frags)\n  7pps 0Mb/sec (8bps) errors: 9")
	f.Fuzz(func(t *testing.T, line, text string) {
		if o, err := parse(strings.Fields(line)); err == nil && !o.help {
			for _, c := range o.commands(0) {
				if strings.ContainsAny(c, "\n\r") {
					t.Errorf("%q: two commands in %q", line, c)
				}
			}
		}
		_, _ = parseResult("eth0@0", text)
	})
}
