package verbs

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"

	"picolab/guestagent/load/transfer"
	"picolab/guestagent/wire"
)

// Sink implements wire.AgentService.
func (v *Verbs) Sink(ctx context.Context, ss wire.Agent_SinkServer) error {
	m, err := ss.Recv()
	if err != nil {
		return err
	}
	start := m.GetStart()
	if start == nil {
		return unexpected("sink")
	}
	if err := checkTransfer("sink", start.Network, start.Path); err != nil {
		return err
	}
	progress := new(transfer.Progress)
	s, err := transfer.Listen(transfer.SinkOptions{Progress: progress,
		Network: start.Network, Address: net.JoinHostPort(start.Address, strconv.Itoa(int(start.Port))), Path: start.Path,
		Idle: time.Duration(start.IdleMs) * time.Millisecond, Timeout: time.Duration(start.TimeoutMs) * time.Millisecond,
	})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := ss.Send(&wire.SinkOutput{Kind: &wire.SinkOutput_Address{Address: s.Addr().String()}}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	credit := wire.NewCredit()
	go watch(cancel, ss, stopOrAck("sink", credit, (*wire.SinkInput).GetStop, (*wire.SinkInput).GetAck)) // ends with the stream
	stopTelling := tell(start.ProgressMs, credit, func() error {
		return ss.Send(&wire.SinkOutput{Kind: &wire.SinkOutput_Progress{Progress: soFar(progress)}})
	})
	res, err := s.Receive(ctx)
	stopTelling()
	if err != nil {
		return err
	}
	if stop := context.Cause(ctx); stop != nil && !errors.Is(stop, errStopped) {
		return stop
	}
	return ss.Send(&wire.SinkOutput{Kind: &wire.SinkOutput_Result{Result: transferResult(res)}})
}

// Source implements wire.AgentService.
func (v *Verbs) Source(ctx context.Context, ss wire.Agent_SourceServer) error {
	m, err := ss.Recv()
	if err != nil {
		return err
	}
	start := m.GetStart()
	if start == nil {
		return unexpected("source")
	}
	if err := checkTransfer("source", start.Network, start.Path); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	credit, progress := wire.NewCredit(), new(transfer.Progress)
	go watch(cancel, ss, stopOrAck("source", credit, (*wire.SourceInput).GetStop, (*wire.SourceInput).GetAck)) // ends with the stream
	stopTelling := tell(start.ProgressMs, credit, func() error { return ss.Send(&wire.SourceOutput{Progress: soFar(progress)}) })
	res, err := transfer.Source(ctx, transfer.SourceOptions{Progress: progress,
		Network: start.Network, Target: start.Target, Bytes: start.Bytes, Seed: start.Seed, Path: start.Path, Link: start.Link,
		Datagram: int(start.Datagram), Rate: start.Rate, Timeout: time.Duration(start.TimeoutMs) * time.Millisecond,
	})
	stopTelling()
	if stop := context.Cause(ctx); stop != nil && !errors.Is(stop, errStopped) {
		return stop
	}
	if err != nil {
		return err
	}
	return ss.Send(&wire.SourceOutput{Result: transferResult(res)})
}

func checkTransfer(verb, network, path string) error {
	if network != "tcp" && network != "udp" {
		return wire.Errorf(wire.Code_INVALID, "%s: network %q, neither tcp nor udp", verb, network)
	}
	if path == "" {
		return nil
	}
	_, err := absolute(path)
	return err
}

// soFar is the account of a transfer under way.
func soFar(p *transfer.Progress) *wire.Transfer {
	return &wire.Transfer{Bytes: p.Bytes.Load(), Datagrams: p.Datagrams.Load()}
}

// stopOrAck handles the messages of a client that may stop a call and acknowledges its progress.
func stopOrAck[I any](verb string, credit *wire.Credit, stop func(*I) bool, ack func(*I) *wire.Ack) func(*I) error {
	return func(m *I) error {
		switch {
		case stop(m):
			return errStopped
		case ack(m) != nil:
			return credit.Give(ack(m))
		}
		return unexpected(verb)
	}
}

func transferResult(r *transfer.Result) *wire.Transfer {
	return &wire.Transfer{
		Bytes: r.Bytes, Sha256: r.SHA256, ExpectedSha256: r.ExpectedSHA256, ElapsedNs: int64(r.Elapsed), Complete: r.Complete,
		Peer: r.Peer, End: r.End, Datagrams: r.Datagrams, Lost: r.Lost, Duplicates: r.Duplicates, Reordered: r.Reordered,
		Corrupt: r.Corrupt, SendErrors: r.SendErrors,
	}
}
