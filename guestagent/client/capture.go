package client

import (
	"context"
	"errors"
	"io"
	"time"

	"picolab/guestagent/wire"
)

// CaptureOptions is a packet capture on one link.
type CaptureOptions struct {
	Link    string
	Snaplen int       // 0 = whole frames
	Filter  string    // tcpdump's language, as package load/pcapfilter has it: "", "icmp", "udp port 69 and not host 10.0.0.1"
	Path    string    // write pcapng to this file of the endpoint
	Writer  io.Writer // and/or here
	Promisc bool
	Packets int64 // stop after so many; 0 = no limit
	Bytes   int64

	Every      time.Duration      // between calls of OnProgress; 0 = none
	OnProgress func(CaptureStats) // is told the counts so far, Dropped not among them
}

// CaptureStats counts packets.
type CaptureStats struct {
	Packets int64 // written
	Dropped int64 // by the kernel for want of room
	Bytes   int64 // on the wire, of those written
	Largest int64 // frame, in bytes
}

// Capture is a running capture.
type Capture struct {
	s    *stream[wire.CaptureInput, wire.CaptureOutput]
	done chan struct{}
	st   *wire.CaptureStats
	err  error
}

// Capture starts capturing; frames sent after it returned are seen. Stop must follow. Cancelling ctx ends it too.
func (c *Client) Capture(ctx context.Context, o CaptureOptions) (*Capture, error) {
	start := &wire.CaptureStart{Link: o.Link, Snaplen: int32(o.Snaplen), Filter: o.Filter, Path: o.Path,
		Stream: o.Writer != nil, Promisc: o.Promisc, LimitPackets: o.Packets, LimitBytes: o.Bytes, ProgressMs: o.Every.Milliseconds()}
	s, err := open[wire.CaptureInput, wire.CaptureOutput](ctx, c, c.agent.Capture, &wire.CaptureInput{Kind: &wire.CaptureInput_Start{Start: start}})
	if err != nil {
		return nil, err
	}
	if _, err := s.recv(); err != nil {
		s.done()
		return nil, err
	}
	p := &Capture{s: s, done: make(chan struct{})}
	go p.receive(o)
	return p, nil
}

func (p *Capture) receive(o CaptureOptions) {
	defer close(p.done)
	defer p.s.done()
	for {
		m, err := p.s.recv()
		if err != nil {
			p.err = err
			return
		}
		if st := m.GetStats(); st != nil {
			p.st = st
			return
		}
		if st := m.GetProgress(); st != nil && o.OnProgress != nil {
			o.OnProgress(captureStats(st))
		}
		if err := p.data(o.Writer, m.GetData()); err != nil {
			p.err = err
			return
		}
	}
}

func (p *Capture) data(w io.Writer, b []byte) error {
	if len(b) == 0 { // progress
	} else if _, err := w.Write(b); err != nil {
		return wire.Errorf(wire.Code_INTERNAL, "write capture: %w", err)
	}
	return p.s.consumed(func(a *wire.Ack) *wire.CaptureInput { return &wire.CaptureInput{Kind: &wire.CaptureInput_Ack{Ack: a}} })
}

// Stop ends the capture after what the kernel has queued and returns the counts. It may be called again.
func (p *Capture) Stop(ctx context.Context) (CaptureStats, error) {
	_ = p.s.send(&wire.CaptureInput{Kind: &wire.CaptureInput_Stop{Stop: true}}) // fails when it has ended already
	return p.Wait(ctx)
}

// Wait waits for a capture that stops by itself.
func (p *Capture) Wait(ctx context.Context) (CaptureStats, error) {
	select {
	case <-p.done:
	case <-ctx.Done():
		p.s.cancel()
		return CaptureStats{}, wire.Classify(ctx.Err())
	}
	st := captureStats(p.st)
	if e := p.st.GetError(); e != "" {
		return st, errors.Join(p.err, wire.Errorf(wire.Code_GUEST, "capture: %s", e))
	}
	return st, p.err
}

func captureStats(s *wire.CaptureStats) CaptureStats {
	return CaptureStats{Packets: s.GetPackets(), Dropped: s.GetDropped(), Bytes: s.GetBytes(), Largest: s.GetLargest()}
}
