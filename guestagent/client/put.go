package client

import (
	"context"
	"errors"
	"io"
	"strings"

	"picolab/guestagent/wire"
)

// put is the sending side of one file.
type put struct {
	s      *stream[wire.PutInput, wire.PutOutput]
	credit *wire.Credit
	ctx    context.Context // ends when the agent has answered or failed
	end    context.CancelCauseFunc
	done   chan *wire.FileSum // the agent's answer; closed when there is none, and when nothing more is received
}

var errAnswered = errors.New("the agent ended the transfer")

func (c *Client) openPut(ctx context.Context, path string, mode uint32) (*put, error) {
	start := &wire.PutStart{Path: path, Mode: mode, Device: inPlace(path)}
	s, err := open[wire.PutInput, wire.PutOutput](ctx, c, c.agent.Put, &wire.PutInput{Kind: &wire.PutInput_Start{Start: start}})
	if err != nil {
		return nil, err
	}
	p := &put{s: s, credit: wire.NewCredit(), done: make(chan *wire.FileSum, 1)}
	p.ctx, p.end = context.WithCancelCause(ctx)
	go p.receive()
	return p, nil
}

// receive takes acknowledgements until the answer.
func (p *put) receive() {
	defer close(p.done)
	for {
		m, err := p.s.recv()
		if err != nil {
			p.end(err)
			return
		}
		if d := m.GetDone(); d != nil {
			p.done <- d
			p.end(errAnswered)
			return
		}
		if err := p.credit.Give(m.GetAck()); err != nil {
			p.end(err)
			return
		}
	}
}

// copy sends r chunk by chunk.
func (p *put) copy(r io.Reader) (n int64, err error) {
	buf := make([]byte, wire.Chunk)
	for {
		k, rerr := io.ReadFull(r, buf)
		if k > 0 {
			if err := p.credit.Take(p.ctx); err != nil {
				return n, wire.FromStatus(err)
			}
			if err := p.s.send(&wire.PutInput{Kind: &wire.PutInput_Data{Data: buf[:k]}}); err != nil {
				return n, p.cause(err)
			}
			n += int64(k)
		}
		if errors.Is(rerr, io.EOF) || errors.Is(rerr, io.ErrUnexpectedEOF) {
			return n, nil
		}
		if rerr != nil {
			return n, wire.Errorf(wire.Code_INTERNAL, "put: read: %w", rerr)
		}
	}
}

// close gives up what is not finished and waits for the receiver.
func (p *put) close() {
	p.s.closeSend()
	for range p.done {
	}
	p.s.done()
	p.end(nil)
}

// cause prefers the agent's reason to the failed send's.
func (p *put) cause(err error) error {
	if c := context.Cause(p.ctx); c != nil && !errors.Is(c, errAnswered) {
		return wire.FromStatus(c)
	}
	return err
}

// finish announces the sum and waits for the agent's own.
func (p *put) finish(sum *wire.FileSum) error {
	if err := p.s.send(&wire.PutInput{Kind: &wire.PutInput_Done{Done: sum}}); err != nil {
		return p.cause(err)
	}
	d, ok := <-p.done
	if !ok {
		return wire.FromStatus(context.Cause(p.ctx))
	}
	return sameSum("put", d, sum.Bytes, sum.Sha256)
}

// inPlace says whether a path is one where a new file cannot replace an old one.
func inPlace(path string) bool {
	for _, p := range []string{"/sys/", "/proc/", "/dev/"} {
		if strings.HasPrefix(path, p) && !strings.HasPrefix(path, "/dev/shm/") {
			return true
		}
	}
	return false
}
