package pktgen

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"picolab/guestagent/load/getopt"

	"golang.org/x/sys/unix"
)

// run runs a command line on a port.
func run(t *testing.T, ctx context.Context, port Port, line string) Result {
	t.Helper()
	r, err := Run(ctx, port, *config(t, strings.Fields(line)...), nil)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return r
}

func TestSendCounts(t *testing.T) {
	for _, line := range []string{"-f tx -n 1000", "-f tx -n 1000 -p 3", "-f tx -n 7 -p 3 -b 2", "-f tx -n 2 -p 4", "-f txseq -n 1000", "-f tx -n 100 -l 100 -l 60"} {
		a, b := newWire(3)
		r := run(t, t.Context(), a, line)
		var bytes uint64
		for _, f := range b.lines[0].inbox {
			bytes += uint64(len(f))
		}
		if want := config(t, strings.Fields(line)...).Count; r.Packets != want || len(b.lines[0].inbox) != int(want) || r.Bytes != bytes {
			t.Errorf("%s: %+v, and %d frames of %d bytes came", line, r.Counters, len(b.lines[0].inbox), bytes)
		}
	}
}

func TestSequenceOverAWire(t *testing.T) {
	a, b := newWire(1)
	a.mangle = func(n int, f []byte) [][]byte {
		switch {
		case n == 100 || n == 101:
			return nil
		case n == 200:
			return [][]byte{f, f}
		case n == 300:
			f[50]++
		}
		return [][]byte{f}
	}
	run(t, t.Context(), a, "-f txseq -n 1000")
	r := run(t, t.Context(), b, "-f rxseq -n 999")
	want := Sequence{Lost: 3, Duplicates: 1, Corrupt: 1}
	if *r.Sequence != want || r.Packets != 999 {
		t.Errorf("%d packets, %+v", r.Packets, *r.Sequence)
	}
}

func TestReceiverEndsWithSilence(t *testing.T) {
	a, b := newWire(1)
	run(t, t.Context(), a, "-f tx -n 10")
	c := config(t, "-f", "rx", "-W")
	c.Silence = time.Millisecond
	if r, err := Run(t.Context(), b, *c, nil); err != nil || r.Packets != 10 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestPingPong(t *testing.T) {
	a, b := newWire(1)
	ctx, stop := context.WithCancel(t.Context())
	ponged := make(chan Result)
	go func() {
		r, err := Run(ctx, b, *config(t, "-f", "pong"), nil)
		if err != nil {
			t.Error(err)
		}
		ponged <- r
	}()
	r := run(t, t.Context(), a, "-f ping -n 200 -b 4")
	stop()
	p := <-ponged
	if r.Packets != 200 || r.Times.Count != 200 || p.Packets != 200 || r.Times.Min <= 0 || r.Times.P50 < r.Times.Min || r.Times.Max < r.Times.P99 {
		t.Errorf("ping %+v %+v, pong %+v", r.Counters, r.Times, p.Counters)
	}
}

func TestPingIgnoresOthersFrames(t *testing.T) {
	a, b := newWire(1)
	run(t, t.Context(), b, "-f tx -n 5") // to a's inbox
	b.deliver(nil)
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if r := run(t, ctx, a, "-f ping -n 1"); r.Times.Count != 0 || r.Packets != 1 {
		t.Errorf("%+v", r.Times)
	}
}

func TestLinkGoesDownWhileSending(t *testing.T) {
	a, _ := newWire(1)
	a.failAt = 100
	r, err := Run(t.Context(), a, *config(t, "-f", "tx", "-b", "10"), nil)
	if !errors.Is(err, unix.ENETDOWN) || r.Packets > 110 {
		t.Errorf("%+v, %v", r.Counters, err)
	}
}

func TestLinkGoesDownWhileReceiving(t *testing.T) {
	a, _ := newWire(1)
	a.checked = unix.ENODEV
	w := newWorkers(a, config(t, "-f", "rx"), new(atomic.Bool))[0]
	w.moved = time.Now().Add(-patience - time.Second)
	if err := w.idle(unix.POLLIN); !errors.Is(err, unix.ENODEV) {
		t.Errorf("idle: %v", err)
	}
}

func TestFramesThatDoNotLeaveAreNotCounted(t *testing.T) {
	a, _ := newWire(1)
	a.stuck = 3
	a.lines[0].lost = 2
	ctx, stop := context.WithCancel(t.Context())
	c := config(t, "-f", "tx", "-n", "20")
	c.Dump = func([]byte) { stop() } // the flush must not wait long
	r, err := Run(ctx, a, *c, nil)
	if err != nil || r.Packets != 15 || r.Bytes != 15*60 {
		t.Errorf("%+v, %v", r.Counters, err)
	}
}

func TestNoAllocationPerBatch(t *testing.T) {
	for _, line := range []string{"-f tx -b 32", "-f txseq -b 32", "-f tx -z -Z -b 32"} {
		a, _ := newWire(1)
		a.mangle = func(int, []byte) [][]byte { return nil }
		w := newWorkers(&still{a}, config(t, strings.Fields(line)...), new(atomic.Bool))[0]
		batch := func() {
			if n, err := w.sendRound(); n != 32 || err != nil {
				t.Fatal(n, err)
			}
		}
		batch()
		if n := testing.AllocsPerRun(100, batch); n != 0 {
			t.Errorf("%s: %v allocations for 32 frames", line, n)
		}
	}
}

// still is a wire whose queue sends nothing and so allocates nothing.
type still struct{ *wire }

type stillLine struct{ *line }

func (s *still) Queues() []Queue          { return []Queue{stillLine{s.lines[0]}} }
func (s stillLine) Send(f [][]byte) error { return nil }

func TestRateSplitsAndBursts(t *testing.T) {
	if p := newPacer(1000, 512); p.burst != 3 {
		t.Errorf("burst %d of 1000 a second", p.burst)
	}
	if p := newPacer(100, 512); p.burst != 1 {
		t.Errorf("burst %d of 100 a second", p.burst)
	}
	if p := newPacer(0, 512); p.burst != 512 {
		t.Errorf("burst %d without a rate", p.burst)
	}
	sum := 0
	for i := range 3 {
		sum += share(1000, i, 3)
	}
	if sum != 1000 {
		t.Errorf("three shares of 1000 are %d", sum)
	}
}

// TestPacerKeepsTheMean goes through a run on a clock that is late now and then: the start moves only for what is later
// than catchUp.
func TestPacerKeepsTheMean(t *testing.T) {
	p := newPacer(1e6, 1000)
	p.start = time.Now().Add(-50 * time.Millisecond)
	before := p.start
	p.wait(func() bool { return true })
	if p.start != before {
		t.Error("50 ms late: what was missed is forgotten")
	}
	p.start = time.Now().Add(-time.Second)
	p.wait(func() bool { return true })
	if late := time.Since(p.start); late < catchUp || late > catchUp+10*time.Second/10 {
		t.Errorf("a second late: %v to be made up for", late)
	}
}

// command runs Main on a wire.
func command(t *testing.T, port Port, line string) (out, errs string, err error) {
	t.Helper()
	var o, e bytes.Buffer
	ports := Ports{"test": func(context.Context, string, Use) (Port, error) { return port, nil }}
	err = Main(t.Context(), Stdio{&o, &e}, ports, strings.Fields("-i test:x -w 0 "+line))
	return o.String(), e.String(), err
}

func TestCommandOutput(t *testing.T) {
	a, b := newWire(1)
	out, errs, err := command(t, a, "-f tx -n 10 -X")
	if err != nil || !strings.Contains(out, "Sending on test:x: 1 queues, 1 threads and 1 cpus.\n10.0.0.1 -> 10.1.0.1 (02:00:00:00:00:01 -> ff:ff:ff:ff:ff:ff)\nSent 10 packets 600 bytes 1 events 60 bytes each in 0.00 seconds.\nSpeed: ") {
		t.Errorf("%v\n%s", err, out)
	}
	if !strings.Contains(errs, "len    60\n    0: ff ff ff ff ff ff 02 00 00 00 00 01 08 00 45 10 ..............E.\n") {
		t.Errorf("dump:\n%s", errs)
	}
	out, _, err = command(t, b, "-f rxseq -n 10 --json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var s struct {
		Type     string
		Packets  int
		Sequence Sequence
	}
	if err != nil || len(lines) < 2 || json.Unmarshal([]byte(lines[len(lines)-1]), &s) != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if s.Type != "summary" || s.Packets != 10 || s.Sequence.Corrupt != 0 {
		t.Errorf("%+v", s)
	}
}

func TestCommandErrors(t *testing.T) {
	a, _ := newWire(1)
	if _, _, err := command(t, a, "-Q"); !errors.Is(err, getopt.ErrUsage) {
		t.Errorf("a wrong option: %v", err)
	}
	a.failAt = 3
	if _, _, err := command(t, a, "-f tx"); !errors.Is(err, unix.ENETDOWN) || errors.Is(err, getopt.ErrUsage) {
		t.Errorf("a link that goes down: %v", err)
	}
	if out, _, err := command(t, a, "--help"); err != nil || out != Manual {
		t.Errorf("help: %v", err)
	}
	if _, _, err := command(t, a, "-f tx -P /nonexistent"); err == nil {
		t.Error("a capture that is not there")
	}
}

// TestReportLayout pins the lines that people and scripts read.
func TestReportLayout(t *testing.T) {
	var out, errs bytes.Buffer
	o, err := ParseOptions(strings.Fields("-i eth0 -f tx -A -B"))
	if err != nil {
		t.Fatal(err)
	}
	p := &printer{out: &out, err: &errs, o: o}
	p.interval(Interval{Counters: Counters{14880952, 14880952 * 60, 29065}, Elapsed: time.Second})
	p.interval(Interval{Elapsed: time.Second, Times: &Times{Count: 3, Min: 1000, Mean: 2500, Buckets: []uint64{1, 0, 2}, FirstBucket: 9}})
	p.summary(Result{Counters: Counters{14880952, 14880952 * 60, 29065}, Elapsed: time.Second, Dropped: 5})
	var plain []string
	for _, l := range strings.Split(errs.String(), "\n") {
		if i := strings.Index(l, " "); i > 0 && strings.Contains(l, "[") {
			l = l[i+1:]
		}
		plain = append(plain, l)
	}
	want := []string{
		"main_thread [1] 14.881 Mpps [avg/std 14.881 M/0.000  pps](14.881 Mpkts 10.000 Gbps in 1000000 usec) 511.99 avg_batch 0 min_space",
		"ping_body [2] count 3 RTT: min 1000 av 2500 ns",
		"ping_body [3] k: 512 .. 2048", "\t     1     0     2", "",
	}
	if !slices.Equal(plain, want) {
		t.Errorf("got %q", plain)
	}
	wantOut := "Sent 14880952 packets 892857120 bytes 29065 events 60 bytes each in 1.00 seconds.\n" +
		"Speed: 14.881 Mpps Bandwidth: 7.143 Gbps (raw 10.000 Gbps). Average batch: 511.99 pkts\n" +
		"Dropped 5 packets that came while there was no room for them.\n"
	if out.String() != wantOut {
		t.Errorf("got %s", out.String())
	}
}
