package catalogue_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/catalogue/internal/fake"
	"picolab/hostctl/report"
)

// TestNetperf shows what of a test is judged, and that what arrived is a figure.
func TestNetperf(t *testing.T) {
	run := func(test string) func(*catalogue.T) {
		return func(t *catalogue.T) {
			server := netip.AddrPortFrom(t.Guest("a").Addr(0), t.Guest("a").Serve("netserver", "-p", "0"))
			t.Netperf(test+" to a", t.Host(), server, test, time.Second)
		}
	}
	for _, tt := range []struct {
		test   string
		faults fake.Faults
		want   report.Verdict
	}{
		{"TCP_STREAM", fake.Faults{}, report.Pass},
		{"TCP_STREAM", fake.Faults{NoServer: true}, report.Fail},
		{"TCP_STREAM", fake.Faults{Stall: true}, report.Fail},
		{"UDP_STREAM", fake.Faults{Stall: true}, report.Fail},
	} {
		r := runAll(t, tt.faults, aCase("t.netperf", run(tt.test)))[0]
		if r.Result != tt.want || len(r.Figures) != 1 || r.Figures[0].Name != "throughput" {
			t.Errorf("%s, %+v: %s: %s; %+v", tt.test, tt.faults, r.Result, r.Reason, r.Figures)
		}
		if want := "netperf -H 10.77.0.2 -p 12865 -t " + tt.test + " -l 1"; r.Steps[1].Command != want {
			t.Errorf("%+v, want %s", r.Steps[1], want)
		}
	}
}

// TestInject shows that frames are sent as they are, to who joined their address,
// and that they are evidence.
func TestInject(t *testing.T) {
	frame := func(to, text string) []byte { return []byte(to + "\x02\x00\x00\x00\x00\x01\x88\xb5" + text) }
	sent := [][]byte{frame("\x03\x00\x00\x00\x40\x00", "to a group"), frame("\x03\x00\x00\x00\x00\x01", "to nobody")}
	var kept, heard []string
	c := aCase("t.inject", func(t *catalogue.T) {
		guest := t.Guest("a")
		guest.Join("eth0", "03:00:00:00:40:00")
		stop := guest.Record("eth0", "ether multicast", "heard.pcapng")
		t.Host().Inject(t.Segment("lan").Bridge, "sent.pcapng", sent)
		stop()
		for _, p := range t.Frames("sent.pcapng") {
			kept = append(kept, string(p.Data))
		}
		for _, p := range t.Frames("heard.pcapng") {
			heard = append(heard, string(p.Data))
		}
		ok(t)
	})
	r := runAll(t, fake.Faults{}, c)[0]
	if r.Result != report.Pass || len(kept) != 2 || kept[0] != string(sent[0]) || kept[1] != string(sent[1]) {
		t.Errorf("%s: %s; kept %q", r.Result, r.Reason, kept)
	}
	if len(heard) != 1 || heard[0] != string(sent[0]) {
		t.Errorf("heard %q", heard)
	}
	if !strings.Contains(strings.Join(r.Evidence, " "), "sent.pcapng") {
		t.Errorf("evidence %v", r.Evidence)
	}
}

// TestAwaitReply shows that it ends without an answer as well.
func TestAwaitReply(t *testing.T) {
	for _, lost := range []bool{false, true} {
		answered := false
		c := aCase("t.await", func(t *catalogue.T) {
			answered = t.Host().AwaitReply(t.Guest("a").Addr(0))
			ok(t)
		})
		runAll(t, fake.Faults{Loss: func(int) bool { return lost }}, c)
		if answered == lost {
			t.Errorf("lost %t, answered %t", lost, answered)
		}
	}
}
