package netperf

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// program finds a program of the original netperf 2.7, and what must come before its arguments.
func program(t testing.TB, name string) []string {
	t.Helper()
	argv := find(name)
	if argv == nil {
		t.Skipf("%s(1) is not here: not in PATH, PICOLAB_NETPERF or the host image of PICOLAB_IMAGES (2.7 or later)", name)
	}
	return argv
}

// find looks for a foreign program in the folder PICOLAB_NETPERF, in PATH, and in the host image of PICOLAB_IMAGES, whose
// own loader runs it; nil when it is nowhere.
func find(name string) []string {
	if path := filepath.Join(os.Getenv("PICOLAB_NETPERF"), name); os.Getenv("PICOLAB_NETPERF") != "" && exists(path) {
		return []string{path}
	}
	if path, err := exec.LookPath(name); err == nil {
		return []string{path}
	}
	root, err := filepath.Abs(filepath.Join(os.Getenv("PICOLAB_IMAGES"), "host", "root"))
	path := filepath.Join(root, "usr/bin", name)
	if os.Getenv("PICOLAB_IMAGES") == "" || err != nil || !exists(path) {
		return nil
	}
	return []string{filepath.Join(root, "usr/lib64/ld-linux-x86-64.so.2"), "--library-path", filepath.Join(root, "usr/lib/x86_64-linux-gnu"), path}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// start makes the command of a program.
func start(ctx context.Context, t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	argv := append(program(t, name), args...)
	return exec.CommandContext(ctx, argv[0], argv[1:]...)
}

// realServer starts the original netserver and returns its port.
func realServer(t testing.TB, host string) int {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skipf("no %s on this machine: %v", host, err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	family := "4"
	if strings.Contains(host, ":") {
		family = "6"
	}
	cmd := start(context.Background(), t, "netserver", "-D", "-p", strconv.Itoa(port), "-L", host+","+family)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for range 200 {
		c, err := net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err == nil {
			_ = c.Close()
			return port
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("netserver does not listen on %s port %d", host, port)
	return 0
}

// realClient runs the original netperf and returns what it printed.
func realClient(t testing.TB, host string, port int, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	cmd := start(ctx, t, "netperf", append([]string{"-H", host, "-p", strconv.Itoa(port)}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("netperf %s: %v\n%s", strings.Join(args, " "), err, out.String())
	}
	return out.String()
}

// keyValues reads the output of -k.
func keyValues(text string) map[string]string {
	out := map[string]string{}
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), "="); ok {
			out[k] = v
		}
	}
	return out
}

var classicTests = []string{"TCP_STREAM", "TCP_MAERTS", "UDP_STREAM", "TCP_RR", "UDP_RR", "TCP_CRR"}

func TestRealClient(t *testing.T) {
	program(t, "netperf")
	for _, host := range hosts {
		port := serve(t, &Server{Log: t.Logf}, host)
		t.Run(host, func(t *testing.T) {
			for _, test := range classicTests {
				t.Run(test, func(t *testing.T) {
					t.Parallel()
					text := realClient(t, host, port, "-t", test, "-l", "1", "-c", "-C", "--", "-k",
						"THROUGHPUT,LOCAL_BYTES_SENT,REMOTE_BYTES_RECVD,LOCAL_BYTES_RECVD,REMOTE_BYTES_SENT,REMOTE_CPU_METHOD,REMOTE_CPU_UTIL,REMOTE_CONG_CONTROL,LOCAL_CONG_CONTROL,RSR_SIZE_END,REMOTE_RECV_CALLS")
					kv := keyValues(text)
					if f, err := strconv.ParseFloat(kv["THROUGHPUT"], 64); err != nil || f <= 0 {
						t.Errorf("throughput %q in\n%s", kv["THROUGHPUT"], text)
					}
					// The original does not count the call that the end of the test cuts short, nor what then comes.
					sent, err1 := strconv.ParseInt(kv["LOCAL_BYTES_SENT"], 10, 64)
					received, err2 := strconv.ParseInt(kv["REMOTE_BYTES_RECVD"], 10, 64)
					if test == "TCP_STREAM" && (err1 != nil || err2 != nil || received < sent || received > sent+1<<20) {
						t.Errorf("bytes differ in\n%s", text)
					}
					if kv["REMOTE_CPU_METHOD"] != "S" || kv["REMOTE_CONG_CONTROL"] != kv["LOCAL_CONG_CONTROL"] && test != "TCP_CRR" || kv["REMOTE_RECV_CALLS"] == "0" && test != "TCP_MAERTS" {
						t.Errorf("figures of the remote side in\n%s", text)
					}
				})
			}
		})
	}
}

func TestRealServer(t *testing.T) {
	for _, host := range hosts {
		t.Run(host, func(t *testing.T) {
			port := realServer(t, host)
			for _, test := range classicTests {
				t.Run(test, func(t *testing.T) {
					c := config(t, test, host, port, 1)
					c.Remote.MeasureCPU, c.Local.MeasureCPU = true, true
					c.Remote.Congestion, c.Local.Congestion = "reno", "reno"
					r, err := Measure(context.Background(), c, Repeat{})
					if err != nil {
						t.Fatal(err)
					}
					if r.rate() <= 0 || r.Elapsed > 3 || !r.Remote.CPU.measured() {
						t.Errorf("%+v", r)
					}
					if !r.spec.udp() && (r.Remote.Congestion != "reno" && !r.spec.Connects || r.Local.Congestion != "reno") {
						t.Errorf("congestion control %q and %q", r.Local.Congestion, r.Remote.Congestion)
					}
					if test == "TCP_STREAM" {
						agree(t, r) // a real sender does not count the call that the end of the test cuts short
					}
				})
			}
		})
	}
}

// TestRealOptions gives the original what it sends seldom: counts instead of time, sizes, bursts, several tests on one
// connection, a named congestion control.
func TestRealOptions(t *testing.T) {
	program(t, "netperf")
	port := serve(t, &Server{Log: t.Logf}, "127.0.0.1")
	for _, tc := range []struct{ args, key, want string }{
		{"-t TCP_RR -l -100 -- -r 300,5000 -k REMOTE_BYTES_RECVD", "REMOTE_BYTES_RECVD", "30000"},
		{"-t TCP_RR -l -100 -- -r 300,5000 -k REMOTE_BYTES_SENT", "REMOTE_BYTES_SENT", "500000"},
		{"-t TCP_STREAM -l -1000000 -- -m 1000 -k REMOTE_BYTES_RECVD", "REMOTE_BYTES_RECVD", "1000000"},
		{"-t TCP_MAERTS -l -1000000 -- -k LOCAL_BYTES_RECVD", "LOCAL_BYTES_RECVD", "1000000"},
		{"-t TCP_RR -l 1 -- -b 8 -D -k REMOTE_NODELAY", "REMOTE_NODELAY", "1"},
		{"-t TCP_STREAM -l 1 -- -K reno,reno -k REMOTE_CONG_CONTROL", "REMOTE_CONG_CONTROL", "reno"},
		{"-t TCP_STREAM -l 1 -- -S 50000 -k RSR_SIZE", "RSR_SIZE", "100000"},
		{"-t TCP_STREAM -l 1 -- -S 50000 -M 3000 -k REMOTE_RECV_SIZE", "REMOTE_RECV_SIZE", "3000"},
		{"-t UDP_STREAM -l 1 -T 0,0 -- -m 100 -R 1 -k LOCAL_SEND_SIZE", "LOCAL_SEND_SIZE", "100"},
		{"-t TCP_RR -l 1 -i 3,3 -I 95,50 -- -k CONFIDENCE_ITERATION", "CONFIDENCE_ITERATION", "3"},
		{"-t UDP_RR -l 1 -D 0.2 -- -n -N -k PROTOCOL", "PROTOCOL", "UDP"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			t.Parallel()
			text := realClient(t, "127.0.0.1", port, strings.Fields(tc.args)...)
			if got := keyValues(text)[tc.key]; got != tc.want {
				t.Errorf("%s is %q, want %q:\n%s", tc.key, got, tc.want, text)
			}
		})
	}
}

var digits = regexp.MustCompile(` *-?[0-9]+(\.[0-9]+)? *|\s+\n`)

// TestRealLayout compares what both programs print, figures aside.
func TestRealLayout(t *testing.T) {
	program(t, "netperf")
	port := serve(t, &Server{Log: t.Logf}, "127.0.0.1")
	for _, args := range []string{
		"-t TCP_STREAM", "-t TCP_MAERTS", "-t UDP_STREAM", "-t TCP_RR", "-t UDP_RR", "-t TCP_CRR", "-t TCP_STREAM -c -C",
		"-t TCP_MAERTS -c -C", "-t UDP_STREAM -c -C", "-t TCP_RR -c -C", "-t UDP_RR -c", "-t TCP_STREAM -f g", "-t TCP_RR -f m",
		"-t TCP_STREAM -f M", "-t TCP_STREAM -P 0", "-t TCP_RR -P 0 -v 0", "-t TCP_STREAM -v 2", "-t TCP_MAERTS -v 2", "-t TCP_RR -v 2",
		"-t OMNI", "-t TCP_RR -- -O THROUGHPUT,P99_LATENCY,RT_LATENCY", "-t TCP_RR -- -o MEAN_LATENCY,LOCAL_CONG_CONTROL,SD_UNITS",
		"-t TCP_STREAM -- -k PROTOCOL,DIRECTION,SOCKET_TYPE,THROUGHPUT_UNITS,LSS_SIZE_REQ,CONFIDENCE_LEVEL,LOCAL_SOCKET_TOS,LOCAL_DRIVER_NAME,LOCAL_INTERFACE_VENDOR",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			head, tail, _ := strings.Cut(args+" ", "-- ")
			words := append(strings.Fields(head), "-l", "1")
			if tail != "" {
				words = append(append(words, "--"), strings.Fields(tail)...)
			}
			real := realClient(t, "127.0.0.1", port, words...)
			o, err := ParseOptions(append([]string{"-H", "127.0.0.1", "-p", strconv.Itoa(port)}, words...))
			if err != nil {
				t.Fatal(err)
			}
			var ours, warnings strings.Builder
			if err := o.Run(context.Background(), &ours, &warnings); err != nil {
				t.Fatal(err)
			}
			if a, b := plain(real), plain(ours.String()); a != b {
				t.Errorf("the original prints\n%s\nand ours\n%s", real, ours.String())
			}
		})
	}
}

// plain replaces figures and the blanks around them.
func plain(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		fmt.Fprintln(&b, strings.TrimRight(digits.ReplaceAllString(line, " # "), " \n"))
	}
	return b.String()
}
