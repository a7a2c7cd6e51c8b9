package verbs

import (
	"context"
	"errors"
	"net/netip"
	"syscall"
	"time"

	"picolab/guestagent/load/echo"
	"picolab/guestagent/wire"
)

// PingHost implements wire.AgentService.
func (v *Verbs) PingHost(ctx context.Context, ss wire.Agent_PingHostServer) error {
	m, err := ss.Recv()
	if err != nil {
		return err
	}
	start := m.GetStart()
	if start == nil {
		return unexpected("ping")
	}
	o, err := echoOptions(start)
	if err != nil {
		return wire.Errorf(wire.Code_INVALID, "ping: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go watch(cancel, ss, stopOnly("ping", (*wire.PingHostInput).GetStop)) // ends with the stream
	res, err := echo.Run(ctx, o)
	if errors.Is(err, echo.ErrOptions) {
		return wire.Errorf(wire.Code_INVALID, "%w", err)
	}
	if err != nil {
		return err
	}
	if stop := context.Cause(ctx); stop != nil && !errors.Is(stop, errStopped) {
		return stop
	}
	return ss.Send(&wire.PingHostOutput{Result: pingResult(res)})
}

// stopOnly handles the messages of a stream whose client can only stop it.
func stopOnly[I any](verb string, stop func(*I) bool) func(*I) error {
	return func(m *I) error {
		if stop(m) {
			return errStopped
		}
		return unexpected(verb)
	}
}

func echoOptions(s *wire.PingHostStart) (echo.Options, error) {
	o := echo.Options{
		Link: s.Link, Size: int(s.Size), Count: s.Count, Interval: time.Duration(s.IntervalNs), Duration: time.Duration(s.DurationNs),
		Flood: s.Flood, Preload: int(s.Preload), DontFragment: s.DontFragment, Wait: time.Duration(s.TimeoutNs), TTL: int(s.Ttl),
	}
	var err error
	if o.Target, err = netip.ParseAddr(s.Target); err != nil {
		return o, err
	}
	if s.Source != "" {
		o.Source, err = netip.ParseAddr(s.Source)
	}
	return o, err
}

func pingResult(r *echo.Result) *wire.PingHostResult {
	w := &wire.PingHostResult{
		Sent: r.Sent, Received: r.Received, Refused: r.Refused, Duplicates: r.Duplicates, Corrupt: r.Corrupt, Late: r.Late,
		Unreachable: r.Unreachable, MinNs: int64(r.RTT.Min()), AvgNs: int64(r.RTT.Mean()), MaxNs: int64(r.RTT.Max()),
		P50Ns: int64(r.RTT.Percentile(50)), P90Ns: int64(r.RTT.Percentile(90)), P99Ns: int64(r.RTT.Percentile(99)),
		AchievedIntervalNs: int64(r.AchievedInterval()), ElapsedNs: int64(r.Elapsed), WireBytes: r.WireBytes,
	}
	if r.RefusedError != nil {
		w.RefusedError = r.RefusedError.Error()
		var errno syscall.Errno
		if errors.As(r.RefusedError, &errno) {
			w.RefusedErrno = int32(errno)
		}
	}
	return w
}
