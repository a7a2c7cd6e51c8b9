package verbs_test

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/load/capture"
	"picolab/guestagent/load/pcapng"
	"picolab/guestagent/wire"
)

// foreign runs a program that judges our files.
func foreign(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s(1) not installed", name)
	}
	if uids, _ := os.ReadFile("/proc/self/uid_map"); name == "tcpdump" && !bytes.Contains(uids, []byte("4294967295")) {
		t.Skip("tcpdump(1) cannot drop privileges in a user namespace")
	}
	cmd := exec.Command(name, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, errs.String())
	}
	return string(out)
}

func lineCount(s string) int { return strings.Count(s, "\n") }

func TestCapture(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	dir := t.TempDir()
	var stream bytes.Buffer
	c, err := p.a.Capture(ctx, client.CaptureOptions{Link: p.aLink, Filter: "icmp", Path: dir + "/a.pcapng", Writer: &stream})
	must(t, err)
	_, err = p.a.PingHost(ctx, client.PingOptions{Target: p.bIP, Size: 100, Count: 10, Interval: time.Millisecond})
	must(t, err)
	st, err := c.Stop(ctx)
	must(t, err)
	if st.Packets != 20 || st.Dropped != 0 || st.Largest != 142 || st.Bytes != 20*142 {
		t.Errorf("%+v", st)
	}
	file, err := os.ReadFile(dir + "/a.pcapng")
	must(t, err)
	if !bytes.Equal(file, stream.Bytes()) {
		t.Error("file and stream differ")
	}
	if n := lineCount(foreign(t, "tcpdump", "-n", "-r", dir+"/a.pcapng", "icmp")); n != 20 {
		t.Errorf("tcpdump sees %d packets", n)
	}
	if n := lineCount(foreign(t, "tcpdump", "-n", "-r", dir+"/a.pcapng", "icmp[0] == 8 and src host 10.9.0.1")); n != 10 {
		t.Errorf("tcpdump sees %d requests", n)
	}
	for flag, want := range map[string]int{"1": 10, "2": 10} {
		out := foreign(t, "tshark", "-r", dir+"/a.pcapng", "-Y", "frame.packet_flags_direction == "+flag, "-T", "fields", "-e", "frame.time_epoch", "-e", "frame.interface_name")
		if lineCount(out) != want || !strings.Contains(out, "\tva\n") {
			t.Errorf("tshark, direction %s: %q", flag, out)
		}
	}
}

func TestCaptureSnaplenAndLimit(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	var stream bytes.Buffer
	c, err := p.b.Capture(ctx, client.CaptureOptions{Link: p.bLink, Filter: "icmp and inbound", Snaplen: 64, Packets: 3, Writer: &stream})
	must(t, err)
	_, err = p.a.PingHost(ctx, client.PingOptions{Target: p.bIP, Size: 1000, Count: 5, Interval: time.Millisecond})
	must(t, err)
	st, err := c.Wait(ctx)
	must(t, err)
	if st.Packets != 3 {
		t.Errorf("%+v", st)
	}
	r, n := pcapng.NewReader(&stream), 0
	for {
		pk, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		n++
		if len(pk.Data) != 64 || pk.Length != 1042 || pk.Direction != pcapng.Inbound || time.Since(pk.Time).Abs() > time.Minute {
			t.Errorf("%d of %d bytes, direction %d, %v", len(pk.Data), pk.Length, pk.Direction, pk.Time)
		}
	}
	if n != 3 {
		t.Errorf("%d packets", n)
	}
}

// TestCaptureFilters compares our filters with tcpdump's on the same mixed traffic.
func TestCaptureFilters(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	file := filepath.Join(t.TempDir(), "all.pcapng")
	c, err := p.a.Capture(ctx, client.CaptureOptions{Link: p.aLink, Path: file})
	must(t, err)
	_, err = p.a.PingHost(ctx, client.PingOptions{Target: p.bIP, Size: 3000, Count: 2, Interval: time.Millisecond})
	must(t, err)
	_, err = p.b.PingHost(ctx, client.PingOptions{Target: netip.MustParseAddr("10.9.0.50"), Count: 1, Timeout: 50 * time.Millisecond}) // ARP
	must(t, err)
	for _, network := range []string{"tcp", "udp"} {
		sink, err := p.b.Sink(ctx, client.SinkOptions{Network: network, Port: 5334})
		must(t, err)
		_, err = p.a.Source(ctx, client.SourceOptions{Network: network, Target: netip.AddrPortFrom(p.bIP, sink.Addr.Port()), Bytes: 20000})
		must(t, err)
		_, err = sink.Wait(ctx)
		must(t, err)
	}
	_, err = c.Stop(ctx)
	must(t, err)
	va, err := p.a.Link(ctx, p.aLink)
	must(t, err)
	frames := readFrames(t, file)
	for _, expr := range []string{
		"", "arp", "ip", "ip6", "icmp", "tcp", "udp", "vlan", "port 5334", "udp port 5334", "tcp dst port 5334", "src port 5334",
		"host 10.9.0.2", "src host 10.9.0.1", "dst host 10.9.0.1", "host 10.9.0.50", "ether multicast", "ether broadcast",
		"ether host " + va.Mac, "ether src " + va.Mac, "greater 1000", "less 100", "not arp and not tcp",
		"udp and greater 500 and not src host 10.9.0.2",
	} {
		f, err := capture.Parse(expr)
		must(t, err)
		ours := 0
		for i := range frames {
			if f(&frames[i]) {
				ours++
			}
		}
		theirs := lineCount(foreign(t, "tcpdump", append([]string{"-n", "-q", "-r", file}, strings.Fields(expr)...)...))
		if ours != theirs {
			t.Errorf("%q: %d of %d frames, tcpdump takes %d", expr, ours, len(frames), theirs)
		}
	}
}

func readFrames(t *testing.T, file string) []capture.Frame {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	r := pcapng.NewReader(bytes.NewReader(b))
	var frames []capture.Frame
	for {
		pk, err := r.Next()
		if errors.Is(err, io.EOF) {
			return frames
		}
		must(t, err)
		frames = append(frames, capture.Frame{Data: bytes.Clone(pk.Data), Length: pk.Length, Direction: pk.Direction})
	}
}

func TestCaptureErrors(t *testing.T) {
	c := local(t)
	if _, err := c.Capture(t.Context(), client.CaptureOptions{Link: "nolink0"}); wire.CodeOf(err) != wire.Code_NOT_FOUND {
		t.Errorf("no link: %v (%v)", err, wire.CodeOf(err))
	}
	for _, f := range []string{"nonsense", "port", "host x", "arp and", "arp icmp", "ether host 1", "not"} {
		if _, err := c.Capture(t.Context(), client.CaptureOptions{Link: "lo", Filter: f}); wire.CodeOf(err) != wire.Code_INVALID {
			t.Errorf("filter %q: %v (%v)", f, err, wire.CodeOf(err))
		}
	}
}

// TestCapturePromisc sees that the link is promiscuous only while the capture runs.
func TestCapturePromisc(t *testing.T) {
	p := newPair(t)
	c, err := p.a.Capture(t.Context(), client.CaptureOptions{Link: p.aLink, Promisc: true})
	must(t, err)
	l, err := p.a.Link(t.Context(), p.aLink)
	must(t, err)
	if !l.Promisc {
		t.Error("not promiscuous")
	}
	_, err = c.Stop(t.Context())
	must(t, err)
	if l, err = p.a.Link(t.Context(), p.aLink); err != nil || l.Promisc {
		t.Errorf("still promiscuous: %v, %v", l.GetPromisc(), err)
	}
}
