package pktgen

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestParseRange(t *testing.T) {
	for _, tc := range []struct {
		in, want string // from:port to:port @group, or a part of the error
		v6       bool
	}{
		{in: "10.0.0.1", want: "10.0.0.1:1234 10.0.0.1:1234 @7"},
		{in: "10.0.0.1:53", want: "10.0.0.1:53 10.0.0.1:53 @7"},
		{in: "10.0.0.1-10.0.0.9", want: "10.0.0.1:1234 10.0.0.9:1234 @7"},
		{in: "10.0.0.9:70-10.0.0.1:60", want: "10.0.0.1:60 10.0.0.9:70 @7"},
		{in: "10.0.0.1:0x10", want: "10.0.0.1:16 10.0.0.1:16 @7"},
		{in: "fd00::1", want: "[fd00::1]:1234 [fd00::1]:1234 @7", v6: true},
		{in: "[fd00::1]:80-[fd00::5]:90", want: "[fd00::1]:80 [fd00::5]:90 @7", v6: true},
		{in: "3@fd00::1-3@fd00:0:0:9::1", want: "[fd00::1]:1234 [fd00:0:0:9::1]:1234 @3", v6: true},
		{in: "fd00::1-fd01::5", want: "ends differ", v6: true},
		{in: "8@fd00::1", want: "group", v6: true},
		{in: "fd00::1", want: "port"}, {in: "::", want: "port"}, {in: "x", want: "not an IPv4"},
		{in: "10.0.0.1", want: "not an IPv6", v6: true},
		{in: "fe80::1%eth0", want: "not an IPv6", v6: true},
		{in: "10.0.0.1:99999", want: "port"},
		{in: "", want: "not an IPv4"},
	} {
		r, err := parseRange(tc.in, tc.v6)
		got := fmt.Sprintf("%v %v @%d", netip.AddrPortFrom(r.First, r.FirstPort), netip.AddrPortFrom(r.Last, r.LastPort), r.Group)
		if err != nil {
			got = err.Error()
		}
		if got != tc.want && (err == nil || !strings.Contains(got, tc.want)) {
			t.Errorf("%q: %s, want %s", tc.in, got, tc.want)
		}
	}
}

// walkOf collects where a sender goes: ports first, then addresses, then the other side.
func walkOf(t *testing.T, source, destination string, n int) []string {
	t.Helper()
	var c Config
	c.Size = DefaultFrame
	var err error
	if c.Headers.Source, err = parseRange(source, false); err != nil {
		t.Fatal(err)
	}
	if c.Headers.Destination, err = parseRange(destination, false); err != nil {
		t.Fatal(err)
	}
	g := newGenerator(&c, 0)
	var out []string
	buf := make([]byte, 100)
	for range n {
		d, ok := parse(buf[:g.next(buf)])
		if !ok || !d.sound() {
			t.Fatalf("frame %x: no sound datagram", buf[:60])
		}
		src, _ := netip.AddrFromSlice(d.src)
		dst, _ := netip.AddrFromSlice(d.dst)
		out = append(out, fmt.Sprintf("%v:%d>%v:%d", src, uint(d.udp[0])<<8|uint(d.udp[1]), dst, uint(d.udp[2])<<8|uint(d.udp[3])))
	}
	return out
}

func TestWalkGoesAsTheOriginal(t *testing.T) {
	got := walkOf(t, "10.0.0.1:1-10.0.0.2:2", "10.1.0.1:8-10.1.0.1:9", 9)
	want := []string{
		"10.0.0.1:1>10.1.0.1:8", "10.0.0.1:2>10.1.0.1:8", "10.0.0.2:1>10.1.0.1:8", "10.0.0.2:2>10.1.0.1:8",
		"10.0.0.1:1>10.1.0.1:9", "10.0.0.1:2>10.1.0.1:9", "10.0.0.2:1>10.1.0.1:9", "10.0.0.2:2>10.1.0.1:9",
		"10.0.0.1:1>10.1.0.1:8",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestWalkCarriesBetweenBytes(t *testing.T) {
	got := walkOf(t, "10.0.0.255-10.0.1.1", "10.1.0.1", 4)
	want := []string{"10.0.0.255:1234>10.1.0.1:1234", "10.0.1.0:1234>10.1.0.1:1234", "10.0.1.1:1234>10.1.0.1:1234", "10.0.0.255:1234>10.1.0.1:1234"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestRandomWalkChanges(t *testing.T) {
	r, _ := parseRange("10.0.0.1", false)
	w, rng := newWalk(r, true), rand.NewPCG(1, 2)
	seen := map[uint32]bool{}
	for range 100 {
		if !w.next(rng) {
			t.Fatal("a random side must let the other step")
		}
		seen[w.at] = true
	}
	if len(seen) < 95 || w.still() {
		t.Errorf("%d addresses of 100", len(seen))
	}
}
