package verbs_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/load/pcapng"
	"picolab/guestagent/wire"

	"golang.org/x/sys/unix"
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
	warm(t, p)
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
	warm(t, p)
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

// TestCaptureFilters records the same mixed traffic once whole and once for each filter: tcpdump must take as many frames
// of the whole.
func TestCaptureFilters(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	for c, link := range map[*client.Client]string{p.a: p.aLink, p.b: p.bLink} { // IPv6 speaks without being asked
		must(t, c.Sysctl(ctx, "net/ipv6/conf/"+link+"/disable_ipv6", "1"))
	}
	va, err := p.a.Link(ctx, p.aLink)
	must(t, err)
	vb, err := p.b.Link(ctx, p.bLink)
	must(t, err)
	must(t, p.a.AddNeigh(ctx, p.aLink, p.bIP, vb.Mac)) // or ARP would speak when it likes
	must(t, p.b.AddNeigh(ctx, p.bLink, p.aIP, va.Mac))
	captures := map[string]*client.Capture{}
	for _, expr := range []string{
		"arp", "ip", "ip6", "icmp", "tcp", "udp", "port 5334", "udp port 5334", "tcp dst port 5334", "src port 5334",
		"host 10.9.0.2", "src host 10.9.0.1", "dst host 10.9.0.1", "host 10.9.0.50", "ether multicast", "ether broadcast",
		"ether host " + va.Mac, "ether src " + va.Mac, "greater 1000", "less 100", "not arp and not tcp",
		"udp and greater 500 and not src host 10.9.0.2", "tcp[tcpflags] & tcp-syn != 0", "net 10.9.0.0/30 and (icmp or arp)",
	} {
		captures[expr], err = p.a.Capture(ctx, client.CaptureOptions{Link: p.aLink, Filter: expr})
		must(t, err)
	}
	file := filepath.Join(t.TempDir(), "all.pcapng")
	all, err := p.a.Capture(ctx, client.CaptureOptions{Link: p.aLink, Path: file})
	must(t, err)
	mixedTraffic(t, p)
	_, err = all.Stop(ctx)
	must(t, err)
	for expr, c := range captures {
		st, err := c.Stop(ctx)
		must(t, err)
		theirs := lineCount(foreign(t, "tcpdump", append([]string{"-n", "-q", "-r", file}, strings.Fields(expr)...)...))
		if st.Packets != int64(theirs) || st.Dropped != 0 {
			t.Errorf("%q: %+v, tcpdump takes %d", expr, st, theirs)
		}
	}
}

// mixedTraffic is ICMP in fragments, ARP, TCP and UDP.
func mixedTraffic(t *testing.T, p *pair) {
	t.Helper()
	ctx := t.Context()
	_, err := p.a.PingHost(ctx, client.PingOptions{Target: p.bIP, Size: 3000, Count: 2, Interval: time.Millisecond})
	must(t, err)
	sendFrames(t, p.aLink, []byte("\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01"+
		"\x02\x00\x00\x00\x00\x01\x0a\x09\x00\x01\x00\x00\x00\x00\x00\x00\x0a\x09\x00\x32"))
	for _, network := range []string{"tcp", "udp"} {
		sink, err := p.b.Sink(ctx, client.SinkOptions{Network: network, Port: 5334})
		must(t, err)
		_, err = p.a.Source(ctx, client.SourceOptions{Network: network, Target: netip.AddrPortFrom(p.bIP, sink.Addr.Port()), Bytes: 20000})
		must(t, err)
		_, err = sink.Wait(ctx)
		must(t, err)
	}
}

// TestCaptureTags filters by tags, which the kernel keeps beside the frames, and writes them back into the file.
func TestCaptureTags(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	warm(t, p)
	captures := map[string]*client.Capture{}
	file := filepath.Join(t.TempDir(), "tagged.pcapng")
	want := map[string]int64{
		"vlan 10 and icmp": 5, "vlan and icmp": 5, "vlan 11": 0, "not vlan and icmp": 3, "icmp": 8, "vlan 10 and dst host 10.9.9.2 and icmp[0] == 8": 5,
		"vlan and vlan and icmp": 0, "vlan 10 and tcp": 0,
	}
	for expr := range want {
		o := client.CaptureOptions{Link: p.bLink, Filter: expr}
		if expr == "vlan and icmp" {
			o.Path = file
		}
		c, err := p.b.Capture(ctx, o)
		must(t, err)
		captures[expr] = c
	}
	echo := []byte("\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x08\x00\x45\x00\x00\x1c\x00\x00\x00\x00\x40\x01\x00\x00\x0a\x09\x09\x01\x0a\x09\x09\x02\x08\x00\x00\x00\x00\x00\x00\x00")
	tagged := slices.Insert(slices.Clone(echo), 12, 0x81, 0, 0x20, 10)
	sendFrames(t, p.aLink, tagged, tagged, tagged, tagged, tagged, echo, echo, echo)
	for expr, c := range captures {
		if st, err := c.Stop(ctx); err != nil || st.Packets != want[expr] {
			t.Errorf("%q: %+v, %v, want %d packets", expr, st, err, want[expr])
		}
	}
	if n := lineCount(foreign(t, "tcpdump", "-n", "-r", file, "vlan 10 and icmp")); n != 5 {
		t.Errorf("tcpdump sees %d tagged packets", n)
	}
}

// warm waits until frames pass: the kernel drops what is sent before it has noticed the carrier.
func warm(t *testing.T, p *pair) {
	t.Helper()
	for range 100 {
		r, err := p.a.PingHost(t.Context(), client.PingOptions{Target: p.bIP, Count: 1, Timeout: 100 * time.Millisecond})
		must(t, err)
		if r.Received == 1 {
			return
		}
	}
	t.Fatal("no frame passes the pair")
}

// sendFrames sends from a link of this process.
func sendFrames(t *testing.T, link string, frames ...[]byte) {
	t.Helper()
	ifi, err := net.InterfaceByName(link)
	must(t, err)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	for _, f := range frames {
		must(t, unix.Sendto(fd, f, 0, &unix.SockaddrLinklayer{Ifindex: ifi.Index}))
	}
}

func TestCaptureTellsProgress(t *testing.T) {
	p := newPair(t)
	var seen atomic.Int64
	c, err := p.a.Capture(t.Context(), client.CaptureOptions{Link: p.aLink, Filter: "icmp", Every: 20 * time.Millisecond,
		OnProgress: func(st client.CaptureStats) { seen.Store(max(seen.Load(), st.Packets)) }})
	must(t, err)
	waitFor(t, "progress", func() bool { // what waits for an address to be resolved comes all at once
		_, err = p.a.PingHost(t.Context(), client.PingOptions{Target: p.bIP, Count: 10, Interval: 5 * time.Millisecond})
		must(t, err)
		return seen.Load() > 0
	})
	st, err := c.Stop(t.Context())
	must(t, err)
	if n := seen.Load(); n > st.Packets {
		t.Errorf("progress of %d packets of %d", n, st.Packets)
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
