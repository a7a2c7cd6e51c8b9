package lab

import (
	"net/netip"
	"testing"
	"time"

	"picolab/guestagent/client"
)

// TestInsideOutside has a host outside of a bridge answer and be gone again; no guest is needed for that.
func TestInsideOutside(t *testing.T) {
	onlyInside(t)
	checkOutside(t, bring(t, Spec{Name: "out", Accel: AccelTCG, Links: []Link{{Name: "lan", Host: netip.MustParsePrefix("10.1.0.1/24")}}}))
}

func checkOutside(t *testing.T, l *Lab) {
	t.Helper()
	o, err := l.NewOutside(t.Context(), "lan")
	if err != nil {
		t.Fatal(err)
	}
	want := l.Link("lan").Host().Addr().Next()
	for range l.Guests() {
		want = want.Next()
	}
	if o.Addr.Addr() != want {
		t.Errorf("address %v, want %v", o.Addr, want)
	}
	links, err := o.Agent.Links(t.Context())
	if err != nil || len(links) != 2 { // lo and its own
		t.Errorf("links there: %v, %v", links, err)
	}
	ping := client.PingOptions{Target: l.Link("lan").Host().Addr(), Size: 1000, Count: 5, Interval: 10 * time.Millisecond, Timeout: l.Timeout(WaitPing)}
	stats, err := o.Agent.PingHost(t.Context(), ping)
	if err != nil || stats.Received != 5 {
		t.Errorf("the lab's side from outside: %+v, %v", stats, err)
	}
	for range 2 {
		if err := o.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ping.Target, ping.Timeout = o.Addr.Addr(), l.Timeout(WaitPing)/10
	if stats, err := l.Host().PingHost(t.Context(), ping); err == nil && stats.Received != 0 {
		t.Errorf("the host outside answers though it is closed: %+v", stats)
	}
}
