package verbs

import (
	"bufio"
	"context"
	"errors"
	"os"
	"sync"

	"picolab/guestagent/load/capture"
	"picolab/guestagent/load/pcapfilter"
	"picolab/guestagent/load/pcapng"
	"picolab/guestagent/wire"
)

// Capture implements wire.AgentService.
func (v *Verbs) Capture(ctx context.Context, ss wire.Agent_CaptureServer) error {
	m, err := ss.Recv()
	if err != nil {
		return err
	}
	start := m.GetStart()
	if start == nil {
		return unexpected("capture")
	}
	c, err := capture.Open(capture.Options{Link: start.Link, Snaplen: int(start.Snaplen), Filter: start.Filter,
		Promisc: start.Promisc, Packets: start.LimitPackets, Bytes: start.LimitBytes})
	if errors.Is(err, pcapfilter.ErrSyntax) {
		return wire.Errorf(wire.Code_INVALID, "%w", err)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := &captureSink{ctx: ctx, ss: ss, stream: start.Stream, credit: wire.NewCredit()}
	if err := out.open(start); err != nil {
		return err
	}
	defer out.close()
	if err := ss.Send(&wire.CaptureOutput{Kind: &wire.CaptureOutput_Started{Started: true}}); err != nil {
		return err
	}
	go watch(cancel, ss, func(m *wire.CaptureInput) error { // ends with the stream
		switch k := m.Kind.(type) {
		case *wire.CaptureInput_Stop:
			c.Stop()
			return nil
		case *wire.CaptureInput_Ack:
			return out.credit.Give(k.Ack)
		}
		return unexpected("capture")
	})
	stopTelling := tell(start.ProgressMs, out.credit, func() error {
		return out.send(&wire.CaptureOutput{Kind: &wire.CaptureOutput_Progress{Progress: captureStats(c.Stats(), nil)}})
	})
	st, err := c.Run(ctx, out)
	stopTelling()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return ss.Send(&wire.CaptureOutput{Kind: &wire.CaptureOutput_Stats{Stats: captureStats(st, errors.Join(err, out.finish(st)))}})
}

func captureStats(st capture.Stats, err error) *wire.CaptureStats {
	w := &wire.CaptureStats{Packets: st.Packets, Dropped: st.Dropped, Bytes: st.Bytes, Largest: st.Largest}
	if err != nil {
		w.Error = err.Error()
	}
	return w
}

// captureSink writes pcapng to a file and to the client.
type captureSink struct {
	ctx    context.Context
	mu     sync.Mutex // of ss
	ss     wire.Agent_CaptureServer
	stream bool
	credit *wire.Credit
	file   *os.File // nil: none
	buf    *bufio.Writer
	w      *pcapng.Writer
}

func (s *captureSink) open(start *wire.CaptureStart) error {
	if start.Path != "" {
		path, err := absolute(start.Path)
		if err != nil {
			return err
		}
		if s.file, err = os.Create(path); err != nil {
			return err
		}
	}
	s.buf = bufio.NewWriterSize(chunks{s}, wire.Chunk)
	var err error
	if s.w, err = pcapng.NewWriter(s.buf, start.Link, int(start.Snaplen)); err != nil {
		s.close()
	}
	return err
}

func (s *captureSink) send(m *wire.CaptureOutput) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ss.Send(m)
}

// Write implements capture.Sink.
func (s *captureSink) Write(p pcapng.Packet) error { return s.w.Write(p) }

// Flush implements capture.Sink.
func (s *captureSink) Flush() error { return s.buf.Flush() }

// finish writes what ends the file.
func (s *captureSink) finish(st capture.Stats) error {
	err := errors.Join(s.w.Close(uint64(st.Packets+st.Dropped), uint64(st.Dropped)), s.buf.Flush())
	if s.file != nil {
		err = errors.Join(err, s.file.Close())
		s.file = nil
	}
	return err
}

func (s *captureSink) close() {
	if s.file != nil {
		s.file.Close()
	}
}

// chunks is the writer behind the buffer.
type chunks struct{ s *captureSink }

func (c chunks) Write(b []byte) (int, error) {
	s := c.s
	if s.file != nil {
		if n, err := s.file.Write(b); err != nil {
			return n, err
		}
	}
	if !s.stream {
		return len(b), nil
	}
	for rest := b; len(rest) > 0; { // a frame longer than the buffer comes in one piece
		n := min(len(rest), wire.Chunk)
		if err := s.credit.Take(s.ctx); err != nil {
			return 0, err
		}
		if err := s.send(&wire.CaptureOutput{Kind: &wire.CaptureOutput_Data{Data: rest[:n]}}); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(b), nil
}
