package client

import (
	"context"
	"net/netip"
	"syscall"
	"time"

	"picolab/guestagent/wire"
)

// PingOptions is an ICMP echo run (IPv4). Count or Duration ends it, whichever is reached first; one must be set.
type PingOptions struct {
	Target       netip.Addr
	Link         string     // bind to this link; "" = by route
	Source       netip.Addr // zero = by route
	Size         int        // payload bytes, 0..65535; the kernel refuses more than wire.MaxEcho
	Count        int
	Duration     time.Duration
	Interval     time.Duration // default 1 s; down to 100 us
	Flood        bool          // as ping -f: the next one when a reply comes or after 10 ms
	Preload      int           // Flood: so many outstanding; 0 = 1
	DontFragment bool
	Timeout      time.Duration // wait for the last replies; 0 = 1 s, or what the round trips so far ask for
	TTL          int
}

// PingStats is what came of it. Sent counts attempts, so that a packet the kernel refused to send is a lost one.
type PingStats struct {
	Sent, Received, Refused int64
	RefusedError            string        // of the first refusal
	RefusedErrno            syscall.Errno // EMSGSIZE for an oversized one
	Duplicates, Corrupt     int64         // a corrupt reply counts as lost
	Late, Unreachable       int64
	RTTMin, RTTAvg, RTTMax  time.Duration
	RTTP50, RTTP90, RTTP99  time.Duration
	AchievedInterval        time.Duration // mean distance of the sends
	Elapsed                 time.Duration
	WireBytes               int64
}

// LossPercent is 100 * (sent - received) / sent; 100 when nothing was sent.
func (s PingStats) LossPercent() float64 {
	if s.Sent == 0 {
		return 100
	}
	return 100 * float64(s.Sent-s.Received) / float64(s.Sent)
}

// PingHost sends ICMP echo requests from the endpoint. Loss is a result, not an error.
func (c *Client) PingHost(ctx context.Context, o PingOptions) (PingStats, error) {
	start := &wire.PingHostStart{
		Target: o.Target.String(), Link: o.Link, Size: int32(o.Size), Count: int64(o.Count), IntervalNs: int64(o.Interval),
		DurationNs: int64(o.Duration), Flood: o.Flood, Preload: int32(o.Preload), DontFragment: o.DontFragment,
		TimeoutNs: int64(o.Timeout), Ttl: int32(o.TTL),
	}
	if o.Source.IsValid() {
		start.Source = o.Source.String()
	}
	s, err := open[wire.PingHostInput, wire.PingHostOutput](ctx, c, c.agent.PingHost,
		&wire.PingHostInput{Kind: &wire.PingHostInput_Start{Start: start}})
	if err != nil {
		return PingStats{}, err
	}
	defer s.done()
	m, err := s.recv()
	if err != nil {
		return PingStats{}, err
	}
	return pingStats(m.Result), nil
}

func pingStats(r *wire.PingHostResult) PingStats {
	return PingStats{
		Sent: r.GetSent(), Received: r.GetReceived(), Refused: r.GetRefused(), RefusedError: r.GetRefusedError(),
		RefusedErrno: syscall.Errno(r.GetRefusedErrno()), Duplicates: r.GetDuplicates(), Corrupt: r.GetCorrupt(),
		Late: r.GetLate(), Unreachable: r.GetUnreachable(),
		RTTMin: time.Duration(r.GetMinNs()), RTTAvg: time.Duration(r.GetAvgNs()), RTTMax: time.Duration(r.GetMaxNs()),
		RTTP50: time.Duration(r.GetP50Ns()), RTTP90: time.Duration(r.GetP90Ns()), RTTP99: time.Duration(r.GetP99Ns()),
		AchievedInterval: time.Duration(r.GetAchievedIntervalNs()), Elapsed: time.Duration(r.GetElapsedNs()),
		WireBytes: r.GetWireBytes(),
	}
}
