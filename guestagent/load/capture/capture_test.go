package capture_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picolab/guestagent/load/getopt"

	"picolab/guestagent/internal/netns"
	"picolab/guestagent/load/capture"
	"picolab/guestagent/load/pcapng"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(netns.Run(m)) }

// send sends n UDP datagrams over the loopback link, to a port where a socket waits.
func send(t *testing.T, n, size int) {
	t.Helper()
	to, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	from, err := net.Dial("udp4", to.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	b := make([]byte, size)
	for range n {
		if _, err := from.Write(b); err != nil {
			t.Fatal(err)
		}
	}
}

// record runs the command while traffic flows and returns what it wrote. It must end by itself.
func record(t *testing.T, traffic func(), args ...string) (out, errs string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	listening := make(chan struct{})
	var o bytes.Buffer
	e := &watcher{seen: listening}
	done := make(chan error, 1)
	go func() { done <- capture.Command(ctx, &o, e, args) }()
	select {
	case <-listening:
		traffic()
	case err := <-done:
		t.Fatalf("capture %q: %v", args, err)
	}
	if err := <-done; err != nil || ctx.Err() != nil {
		t.Fatalf("capture %q: %v, %v", args, err, ctx.Err())
	}
	return o.String(), e.String()
}

// watcher closes seen when the command says that it listens.
type watcher struct {
	bytes.Buffer
	seen chan struct{}
}

func (w *watcher) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("listening")) {
		close(w.seen)
	}
	return w.Buffer.Write(b)
}

// frames reads a file with our reader, and has tcpdump and tshark count it too.
func frames(t *testing.T, file string) int {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n, r := 0, pcapng.NewReader(bytes.NewReader(b))
	for {
		if _, err := r.Next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		n++
	}
	for name, args := range map[string][]string{"tcpdump": {"-n", "-r", file}, "tshark": {"-n", "-r", file}} {
		if _, err := exec.LookPath(name); err != nil {
			t.Logf("%s(1) not installed: it does not judge %s", name, filepath.Base(file))
			continue
		}
		out, err := exec.Command(name, args...).Output()
		if got := strings.Count(string(out), "\n"); err != nil && os.Geteuid() == 0 || err == nil && got != n {
			t.Errorf("%s reads %d of %d frames of %s: %v", name, got, n, file, err)
		}
	}
	return n
}

func TestOneFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.pcapng")
	_, errs := record(t, func() { send(t, 20, 500) }, "-i", "lo", "-c", "15", "-s", "60", "-w", file, "udp", "and", "greater", "500")
	if n := frames(t, file); n != 15 || !strings.Contains(errs, "15 packets captured") || !strings.Contains(errs, "0 packets dropped by kernel") {
		t.Errorf("%d frames\n%s", n, errs)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := pcapng.NewReader(bytes.NewReader(b)).Next(); err != nil || len(p.Data) != 60 || p.Length != 542 {
		t.Errorf("%d of %d bytes kept, %v", len(p.Data), p.Length, err)
	}
}

// TestRing: -W files at most, the newest frames in them, none lost between them.
func TestRing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ring")
	_, errs := record(t, func() { send(t, 5000, 1400) }, "-i", "lo", "-c", "5000", "-C", "1", "-W", "3", "-w", file, "--json", "udp")
	var got struct {
		Packets, Dropped int
		Files            []string
	}
	if err := json.Unmarshal([]byte(errs[strings.Index(errs, "{"):]), &got); err != nil {
		t.Fatalf("%v in %s", err, errs)
	}
	if got.Packets != 5000 || got.Dropped != 0 || fmt.Sprint(got.Files) != fmt.Sprintf("[%s0 %s1 %s2]", file, file, file) {
		t.Errorf("%+v", got)
	}
	n := 0
	for _, f := range got.Files {
		n += frames(t, f)
	}
	const inFile = 1_000_000 / (1400 + 42 + 44) // and what a block adds
	if all, _ := filepath.Glob(file + "*"); len(all) != 3 || n < 2*inFile || n > 3*inFile+30 {
		t.Errorf("%d frames in %q", n, all)
	}
}

func TestFilesWithoutRing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	record(t, func() { send(t, 2000, 1400) }, "-i", "lo", "-c", "2000", "-C", "1", "-w", file, "udp")
	if n := frames(t, file) + frames(t, file+"1") + frames(t, file+"2"); n != 2000 {
		t.Errorf("%d frames in all", n)
	}
}

func TestFilesByTime(t *testing.T) {
	dir := t.TempDir()
	f, err := capture.Create(capture.FileOptions{Name: dir + "/%Y-%s-%j-%%-%x-%F", Link: "lo", Every: time.Second, Count: 2})
	if err != nil {
		t.Fatal(err)
	}
	p := pcapng.Packet{Time: time.Now(), Data: make([]byte, 60), Length: 60}
	for deadline := time.Now().Add(20 * time.Second); err == nil && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		err = f.Write(p)
	}
	if !errors.Is(err, capture.ErrEnough) || f.Close(3) != nil || f.Close(3) != nil || len(f.Names()) != 2 {
		t.Fatalf("%v, files %q", err, f.Names())
	}
	for _, name := range f.Names() {
		if frames(t, name) == 0 || !strings.Contains(name, time.Now().Format("/2006-")) || !strings.Contains(name, "-%-%x-20") {
			t.Errorf("file %q", name)
		}
	}
}

// slow is a sink that takes nothing until it is told to.
type slow struct {
	begin chan struct{}
	n     int
}

func (s *slow) Write(pcapng.Packet) error { <-s.begin; s.n++; return nil }
func (s *slow) Flush() error              { return nil }

// TestDropsAreCounted: what was taken and what was dropped is what was sent.
func TestDropsAreCounted(t *testing.T) {
	c, err := capture.Open(capture.Options{Link: "lo", Filter: "udp", Buffer: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	sink := &slow{begin: make(chan struct{})}
	done := make(chan capture.Stats)
	go func() {
		st, err := c.Run(t.Context(), sink)
		if err != nil {
			t.Error(err)
		}
		done <- st
	}()
	send(t, 3000, 1000)
	close(sink.begin)
	c.Stop()
	if st := <-done; st.Packets+st.Dropped != 3000 || st.Dropped == 0 || st.Packets != int64(sink.n) {
		t.Errorf("%+v of 3000 frames", st)
	}
}

// hasty is a sink that takes its time to flush: meanwhile frames come, and the capture is stopped.
type hasty struct {
	meanwhile func()
	n         int
}

func (h *hasty) Write(pcapng.Packet) error { h.n++; return nil }

func (h *hasty) Flush() error {
	if h.meanwhile != nil {
		h.meanwhile()
		h.meanwhile = nil
	}
	return nil
}

// TestStopKeepsWhatWaits: frames that came before Stop are taken, also those that came while the sink was busy.
func TestStopKeepsWhatWaits(t *testing.T) {
	c, err := capture.Open(capture.Options{Link: "lo", Filter: "udp"})
	if err != nil {
		t.Fatal(err)
	}
	sink := &hasty{meanwhile: func() { send(t, 3, 100); c.Stop() }}
	if st, err := c.Run(t.Context(), sink); err != nil || st.Packets != 3 || sink.n != 3 {
		t.Errorf("%+v, %d frames written, %v", st, sink.n, err)
	}
}

func TestLines(t *testing.T) {
	out, _ := record(t, func() { send(t, 3, 100) }, "-i", "lo", "-nlU", "-c", "3", "udp")
	if strings.Count(out, "\n") != 3 || !strings.Contains(out, "IP 127.0.0.1:") || !strings.Contains(out, "UDP, length 142") {
		t.Errorf("%s", out)
	}
	var pipe bytes.Buffer
	f, err := capture.Create(capture.FileOptions{Name: "-", Stdout: &pipe, Link: "lo"})
	if err != nil || f.Write(pcapng.Packet{Data: []byte(out)}) != nil || f.Close(0) != nil || !bytes.Contains(pipe.Bytes(), []byte(out)) {
		t.Errorf("standard output: %v", err)
	}
}

func TestDescribe(t *testing.T) {
	mac := "\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01"
	for frame, want := range map[string]string{
		"x": "cut short",
		mac + "\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01\x02\x00\x00\x00\x00\x01\x0a\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x02":                 "02:00:00:00:00:01 > 02:00:00:00:00:02 ARP who has 10.0.0.2, tell 10.0.0.1",
		mac + "\x81\x00\x00\x05\x08\x06\x00\x01\x08\x00\x06\x04\x00\x02\x02\x00\x00\x00\x00\x01\x0a\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x02": "vlan 5 ARP 10.0.0.1 is at 02:00:00:00:00:01",
		mac + "\x88\xcc\x00":                                 "ethertype 0x88cc",
		mac + "\x81\x00\x00\x05":                             "cut short",
		mac + "\x86\xdd" + strings.Repeat("\x3a", 40):        "IP6 3a3a:",
		mac + "\x08\x00\x45" + strings.Repeat("\x09", 19):    "protocol 9",
		mac + "\x08\x00\x4f" + strings.Repeat("\x06", 19):    "TCP",
		mac + "\x08\x00\x45\x00\x00" + strings.Repeat("", 9): "ethertype 0x0800",
	} {
		if got := capture.Describe(pcapng.Packet{Data: []byte(frame), Direction: pcapng.Outbound}); !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", frame, got, want)
		}
	}
}

func TestCommandWithoutCapture(t *testing.T) {
	for args, want := range map[string]string{
		"--help": "capture [option...] [filter]", "-D": ".lo [", "-d udp": "(000) ldh [12]", "-ddd tcp or arp": "\n40 0 0 12\n", "-dd udp": "{ 0x28, 0, 0, 0x0000000c },",
	} {
		var out bytes.Buffer
		if err := capture.Command(t.Context(), &out, &out, strings.Fields(args)); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v\n%s", args, err, out.String())
		}
	}
	for _, args := range []string{"-Z", "-c 0", "-s x", "-G x -w y", "nonsense", "-C 1", "-i lo -w", "-W x"} {
		if err := capture.Command(t.Context(), io.Discard, io.Discard, strings.Fields(args)); !errors.Is(err, getopt.ErrUsage) {
			t.Errorf("%s: %v", args, err)
		}
	}
	for args, want := range map[string]error{"-i nolink0": unix.ENODEV, "-i lo -w /no/such/folder/f": os.ErrNotExist} {
		if err := capture.Command(t.Context(), io.Discard, io.Discard, strings.Fields(args)); !errors.Is(err, want) || errors.Is(err, getopt.ErrUsage) {
			t.Errorf("%s: %v", args, err)
		}
	}
	if err := capture.Command(t.Context(), io.Discard, io.Discard, strings.Fields("-i lo -w - -C 1")); err == nil {
		t.Error("standard output in several files: no error")
	}
}

func FuzzDescribe(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01\x08\x00\x45\x00"))
	f.Fuzz(func(t *testing.T, frame []byte) { capture.Describe(pcapng.Packet{Data: frame, Length: len(frame)}) })
}
