package verbs_test

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/wire"
)

// patience is how long the last replies may take on a machine that has more to do.
const patience = 20 * time.Second

func TestPingTable(t *testing.T) {
	p := newPair(t)
	warm(t, p)
	intervals := []time.Duration{10 * time.Millisecond, time.Millisecond, 100 * time.Microsecond}
	for _, size := range []int{0, 1, 7, 8, 48, 64, 512, 1440, 1472, 1500, 1505, 4096, 32767, 65507} {
		for _, interval := range intervals {
			st, err := p.a.PingHost(t.Context(), client.PingOptions{Target: p.bIP, Size: size, Count: 10, Interval: interval, Timeout: patience})
			must(t, err)
			if st.Sent != 10 || st.Received != 10 || st.LossPercent() != 0 || st.Corrupt+st.Duplicates+st.Refused+st.Late != 0 {
				t.Errorf("size %d interval %v: %+v", size, interval, st)
			}
			if st.RTTMin <= 0 || st.RTTMin > st.RTTP50 || st.RTTP50 > st.RTTP99 || st.RTTP99 > st.RTTMax {
				t.Errorf("size %d interval %v: round trips out of order: %+v", size, interval, st)
			}
			if st.AchievedInterval < interval*9/10 || st.AchievedInterval > interval+time.Second {
				t.Errorf("size %d interval %v: achieved %v", size, interval, st.AchievedInterval)
			}
		}
	}
}

func TestPingIntervalIsKept(t *testing.T) {
	p := newPair(t)
	warm(t, p)
	st, err := p.a.PingHost(t.Context(), client.PingOptions{Target: p.bIP, Size: 64, Count: 2000, Interval: 100 * time.Microsecond, Timeout: patience})
	must(t, err)
	t.Logf("100 us: achieved %v, p50 %v, p99 %v", st.AchievedInterval, st.RTTP50, st.RTTP99)
	if st.LossPercent() != 0 || st.AchievedInterval < 90*time.Microsecond {
		t.Errorf("%+v", st)
	}
}

func TestPingOversizeIsRefused(t *testing.T) {
	p := newPair(t)
	st, err := p.a.PingHost(t.Context(), client.PingOptions{Target: p.bIP, Size: 65508, Count: 5, Interval: time.Millisecond})
	must(t, err)
	if st.Sent != 5 || st.Refused != 5 || st.LossPercent() != 100 || st.RefusedErrno != syscall.EMSGSIZE {
		t.Errorf("%+v", st)
	}
}

func TestPingDontFragment(t *testing.T) {
	p := newPair(t)
	warm(t, p)
	for size, loss := range map[int]float64{1472: 0, 1473: 100} {
		st, err := p.a.PingHost(t.Context(), client.PingOptions{Target: p.bIP, Size: size, Count: 3, Interval: time.Millisecond, DontFragment: true})
		must(t, err)
		if st.LossPercent() != loss || (loss > 0) != (st.RefusedErrno == syscall.EMSGSIZE) {
			t.Errorf("size %d: %+v", size, st)
		}
	}
}

func TestPingJumbo(t *testing.T) {
	p := newPair(t)
	warm(t, p)
	for _, mtu := range []int{9000, 65521, 65535} {
		must(t, p.a.SetMTU(t.Context(), p.aLink, mtu))
		must(t, p.b.SetMTU(t.Context(), p.bLink, mtu))
		st, err := p.a.PingHost(t.Context(), client.PingOptions{Target: p.bIP, Size: mtu - 28, Count: 10, Interval: time.Millisecond, DontFragment: true, Timeout: patience})
		must(t, err)
		if st.LossPercent() != 0 {
			t.Errorf("mtu %d: %+v", mtu, st)
		}
	}
}

func TestPingFlood(t *testing.T) {
	p := newPair(t)
	warm(t, p)
	for _, preload := range []int{1, 16} {
		st, err := p.a.PingHost(t.Context(), client.PingOptions{Target: p.bIP, Size: 1440, Flood: true, Preload: preload, Duration: 300 * time.Millisecond, Timeout: patience})
		must(t, err)
		t.Logf("preload %d: %d in %v, p50 %v", preload, st.Sent, st.Elapsed, st.RTTP50)
		if st.LossPercent() != 0 || st.Sent < 100 {
			t.Errorf("preload %d: %+v", preload, st)
		}
	}
	st, err := p.a.PingHost(t.Context(), client.PingOptions{Target: p.bIP, Size: 64, Flood: true, Count: 500, Timeout: patience})
	must(t, err)
	if st.Sent != 500 || st.Received != 500 {
		t.Errorf("count: %+v", st)
	}
}

// TestPingFloodWraps sends more requests than there are sequence numbers.
func TestPingFloodWraps(t *testing.T) {
	if testing.Short() {
		t.Skip("70000 requests")
	}
	p := newPair(t)
	warm(t, p)
	st, err := p.a.PingHost(t.Context(), client.PingOptions{Target: p.bIP, Size: 16, Flood: true, Preload: 64, Count: 70000, Timeout: patience})
	must(t, err)
	if st.Sent != 70000 || st.Received != 70000 || st.Duplicates+st.Late+st.Corrupt != 0 {
		t.Errorf("%+v", st)
	}
}

func TestPingLoss(t *testing.T) {
	p := newPair(t)
	nobody := netip.MustParseAddr("10.9.0.77")
	must(t, p.a.AddNeigh(t.Context(), p.aLink, nobody, "02:00:00:00:00:77"))
	st, err := p.a.PingHost(t.Context(), client.PingOptions{Target: nobody, Size: 64, Count: 4, Interval: time.Millisecond, Timeout: 100 * time.Millisecond})
	must(t, err)
	if st.Sent != 4 || st.Received != 0 || st.Refused != 0 || st.LossPercent() != 100 {
		t.Errorf("%+v", st)
	}
	must(t, p.b.LinkDown(t.Context(), p.bLink)) // a flood goes on without replies, one each 10 ms
	st, err = p.a.PingHost(t.Context(), client.PingOptions{Target: p.bIP, Size: 64, Flood: true, Count: 5, Timeout: 50 * time.Millisecond})
	must(t, err)
	if st.Sent != 5 || st.Received != 0 || st.Elapsed < 35*time.Millisecond {
		t.Errorf("flood into silence: %+v", st)
	}
}

func TestPingArguments(t *testing.T) {
	c := local(t)
	lo := netip.MustParseAddr("127.0.0.1")
	for name, o := range map[string]client.PingOptions{
		"no end":   {Target: lo},
		"ipv6":     {Target: netip.MustParseAddr("::1"), Count: 1},
		"size":     {Target: lo, Count: 1, Size: 65536},
		"no link":  {Target: lo, Count: 1, Link: "nolink0"},
		"no route": {Target: netip.MustParseAddr("192.0.2.1"), Count: 1},
	} {
		if _, err := c.PingHost(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		} else if code := wire.CodeOf(err); code == wire.Code_INTERNAL || code == wire.Code_UNKNOWN {
			t.Errorf("%s: %v (%v)", name, err, code)
		}
	}
}
