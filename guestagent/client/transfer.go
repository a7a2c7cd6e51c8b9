package client

import (
	"context"
	"encoding/hex"
	"net/netip"
	"time"

	"picolab/guestagent/wire"
)

// Transfer is one side's account of a TCP or UDP transfer.
type Transfer struct {
	Bytes          int64
	SHA256         string // of the content in order, hex; "" when some is missing
	ExpectedSHA256 string // UDP: what the sender says
	Elapsed        time.Duration
	Seconds        float64
	Complete       bool // the end was seen and nothing is missing
	Datagrams      int64
	Lost           int64 // UDP: of the datagrams sent, those that never came
	Duplicates     int64
	Reordered      int64
	Corrupt        int64
	SendErrors     int64
	Peer           string
	End            string // why it ended: eof, fin, idle, stop or an error
}

// BitsPerSecond is the goodput.
func (t Transfer) BitsPerSecond() float64 {
	if t.Seconds == 0 {
		return 0
	}
	return float64(t.Bytes) * 8 / t.Seconds
}

func transfer(r *wire.Transfer) Transfer {
	d := time.Duration(r.GetElapsedNs())
	return Transfer{
		Bytes: r.GetBytes(), SHA256: hex.EncodeToString(r.GetSha256()), ExpectedSHA256: hex.EncodeToString(r.GetExpectedSha256()),
		Elapsed: d, Seconds: d.Seconds(), Complete: r.GetComplete(), Datagrams: r.GetDatagrams(), Lost: r.GetLost(),
		Duplicates: r.GetDuplicates(), Reordered: r.GetReordered(), Corrupt: r.GetCorrupt(), SendErrors: r.GetSendErrors(),
		Peer: r.GetPeer(), End: r.GetEnd(),
	}
}

// SinkOptions is the receiving end of one transfer.
type SinkOptions struct {
	Network string        // "tcp" or "udp"
	Address netip.Addr    // to bind to; zero = any
	Port    int           // 0 = the kernel's choice
	Idle    time.Duration // without data this long is the end; 0 = 10 s
	Timeout time.Duration // for the first byte; 0 = 60 s
	Path    string        // also store the content there

	Every      time.Duration  // between calls of OnProgress, from Wait; 0 = none
	OnProgress func(Transfer) // is told the bytes and datagrams so far
}

// Sink is a listening receiver on the endpoint.
type Sink struct {
	Addr netip.AddrPort // what it is bound to; the address is unspecified unless SinkOptions.Address was given
	s    *stream[wire.SinkInput, wire.SinkOutput]
	tell func(Transfer)
}

// Sink starts a receiver; it listens when Sink returns. Wait or Close must follow. Cancelling ctx ends it.
func (c *Client) Sink(ctx context.Context, o SinkOptions) (*Sink, error) {
	start := &wire.SinkStart{Network: o.Network, Port: uint32(o.Port), IdleMs: o.Idle.Milliseconds(),
		TimeoutMs: o.Timeout.Milliseconds(), Path: o.Path, ProgressMs: o.Every.Milliseconds()}
	if o.Address.IsValid() {
		start.Address = o.Address.String()
	}
	s, err := open[wire.SinkInput, wire.SinkOutput](ctx, c, c.agent.Sink, &wire.SinkInput{Kind: &wire.SinkInput_Start{Start: start}})
	if err != nil {
		return nil, err
	}
	m, err := s.recv()
	if err != nil {
		s.done()
		return nil, err
	}
	addr, err := netip.ParseAddrPort(m.GetAddress())
	if err != nil {
		s.done()
		return nil, wire.Errorf(wire.Code_INTERNAL, "sink address: %w", err)
	}
	return &Sink{Addr: addr, s: s, tell: o.OnProgress}, nil
}

// Wait returns the account when the transfer has ended, or what there is of it when ctx ends.
func (k *Sink) Wait(ctx context.Context) (Transfer, error) {
	defer k.s.done()
	stop := context.AfterFunc(ctx, k.stop)
	defer stop()
	m, err := lastOf(k.s, k.tell, (*wire.SinkOutput).GetProgress,
		func(a *wire.Ack) *wire.SinkInput { return &wire.SinkInput{Kind: &wire.SinkInput_Ack{Ack: a}} })
	if err != nil {
		return Transfer{}, err
	}
	t := transfer(m.GetResult())
	if ctx.Err() != nil {
		return t, wire.Classify(ctx.Err())
	}
	return t, nil
}

// lastOf tells progress until another message comes.
func lastOf[I, O any](s *stream[I, O], tell func(Transfer), progress func(*O) *wire.Transfer, ack func(*wire.Ack) *I) (*O, error) {
	for {
		m, err := s.recv()
		if err != nil {
			return nil, err
		}
		p := progress(m)
		if p == nil {
			return m, nil
		}
		if tell != nil {
			tell(transfer(p))
		}
		_ = s.consumed(ack) // a stream that takes no more shows in recv
	}
}

// Stop ends the sink early and returns what came so far.
func (k *Sink) Stop(ctx context.Context) (Transfer, error) {
	k.stop()
	return k.Wait(ctx)
}

// Close ends the sink without a result. It may be called after Wait.
func (k *Sink) Close() { k.s.done() }

func (k *Sink) stop() { _ = k.s.send(&wire.SinkInput{Kind: &wire.SinkInput_Stop{Stop: true}}) }

// SourceOptions is the sending end of one transfer.
type SourceOptions struct {
	Network  string // "tcp" or "udp"
	Target   netip.AddrPort
	Bytes    int64
	Seed     uint64        // same seed, same bytes
	Datagram int           // UDP: bytes of each, our header included; 0 = 1472
	Rate     int64         // bytes per second; 0 = as fast as the socket takes them
	Path     string        // send this file of the endpoint instead
	Link     string        // bind to this link
	Timeout  time.Duration // to connect, and without progress; 0 = 60 s

	Every      time.Duration  // between calls of OnProgress; 0 = none
	OnProgress func(Transfer) // is told the bytes and datagrams so far
}

// Source sends and returns the sender's account.
func (c *Client) Source(ctx context.Context, o SourceOptions) (Transfer, error) {
	start := &wire.SourceStart{Network: o.Network, Target: o.Target.String(), Bytes: o.Bytes, Seed: o.Seed,
		Datagram: int32(o.Datagram), Rate: o.Rate, Path: o.Path, Link: o.Link, TimeoutMs: o.Timeout.Milliseconds(),
		ProgressMs: o.Every.Milliseconds()}
	s, err := open[wire.SourceInput, wire.SourceOutput](ctx, c, c.agent.Source, &wire.SourceInput{Kind: &wire.SourceInput_Start{Start: start}})
	if err != nil {
		return Transfer{}, err
	}
	defer s.done()
	m, err := lastOf(s, o.OnProgress, (*wire.SourceOutput).GetProgress,
		func(a *wire.Ack) *wire.SourceInput { return &wire.SourceInput{Kind: &wire.SourceInput_Ack{Ack: a}} })
	if err != nil {
		return Transfer{}, err
	}
	return transfer(m.GetResult()), nil
}
