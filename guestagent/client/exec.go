package client

import (
	"bytes"
	"context"
	"io"
	"time"

	"picolab/guestagent/wire"

	"google.golang.org/protobuf/proto"
)

// Output is what a command left behind.
type Output struct {
	Stdout, Stderr []byte
	ExitCode       int  // 128+signal when it was killed
	Truncated      bool // there was more output than the limit
	TimedOut       bool // killed because its time was over
}

// ExecOptions is a command to run.
type ExecOptions struct {
	Argv           []string
	Env            []string // KEY=value, added to the agent's
	Dir            string
	Stdin          io.Reader      // nil: /dev/null
	Stdout, Stderr io.Writer      // nil: dropped
	Limit          int64          // bytes of output forwarded; 0: wire.DefaultExecLimit
	Timeout        time.Duration  // then SIGTERM to the process group, SIGKILL after wire.KillGrace; 0: wire.DefaultExecTimeout
	Exited         *wire.ExecExit // when not nil, filled in with the details
}

// Run runs a command and collects its output. A non-zero exit code is not an error.
func (c *Client) Run(ctx context.Context, argv ...string) (Output, error) {
	return c.RunWith(ctx, ExecOptions{Argv: argv})
}

// RunWith is Run with options; Stdout, Stderr and Exited of o are not used.
func (c *Client) RunWith(ctx context.Context, o ExecOptions) (Output, error) {
	var out, errs bytes.Buffer
	exit := new(wire.ExecExit)
	o.Stdout, o.Stderr, o.Exited = &out, &errs, exit
	code, err := c.Exec(ctx, o)
	return Output{Stdout: out.Bytes(), Stderr: errs.Bytes(), ExitCode: code, Truncated: exit.Truncated, TimedOut: exit.TimedOut}, err
}

// Exec runs a command, streaming. err tells that it could not be run, or was not seen to its end; the exit code of one
// that ran is the int, 128+signal when it was killed (by its timeout too: see ExecOptions.Exited). Cancelling ctx kills
// its process group.
func (c *Client) Exec(ctx context.Context, o ExecOptions) (int, error) {
	start := &wire.ExecStart{Argv: o.Argv, Env: o.Env, Dir: o.Dir, Limit: o.Limit, TimeoutMs: o.Timeout.Milliseconds(), Stdin: o.Stdin != nil}
	s, err := open[wire.ExecInput, wire.ExecOutput](ctx, c, c.agent.Exec, &wire.ExecInput{Kind: &wire.ExecInput_Start{Start: start}})
	if err != nil {
		return -1, err
	}
	e := &execution{s: s, o: o, credit: wire.NewCredit()}
	defer s.done()
	if o.Stdin != nil {
		var end context.CancelFunc
		e.ctx, end = context.WithCancel(ctx)
		defer end()
		go e.feed() // ends with the stream, or when the caller's reader returns
	}
	return e.receive()
}

// execution is one running command.
type execution struct {
	s      *stream[wire.ExecInput, wire.ExecOutput]
	o      ExecOptions
	ctx    context.Context
	credit *wire.Credit // for stdin
}

func (e *execution) receive() (int, error) {
	for {
		m, err := e.s.recv()
		if err != nil {
			return -1, err
		}
		switch k := m.Kind.(type) {
		case *wire.ExecOutput_Stdout:
			err = e.output(e.o.Stdout, k.Stdout)
		case *wire.ExecOutput_Stderr:
			err = e.output(e.o.Stderr, k.Stderr)
		case *wire.ExecOutput_Ack:
			err = e.credit.Give(k.Ack)
		case *wire.ExecOutput_Exit:
			if e.o.Exited != nil {
				proto.Merge(e.o.Exited, k.Exit)
			}
			return int(k.Exit.Code), nil
		}
		if err != nil {
			return -1, err
		}
	}
}

func (e *execution) output(w io.Writer, b []byte) error {
	if w != nil {
		if _, err := w.Write(b); err != nil {
			return wire.Errorf(wire.Code_INTERNAL, "exec %s: write output: %w", e.o.Argv[0], err)
		}
	}
	return e.s.consumed(func(a *wire.Ack) *wire.ExecInput { return &wire.ExecInput{Kind: &wire.ExecInput_Ack{Ack: a}} })
}

// feed sends standard input; a command that does not read it is no error.
func (e *execution) feed() {
	buf := make([]byte, wire.Chunk)
	for {
		n, err := e.o.Stdin.Read(buf)
		if n > 0 {
			if e.credit.Take(e.ctx) != nil || e.s.send(&wire.ExecInput{Kind: &wire.ExecInput_Stdin{Stdin: buf[:n]}}) != nil {
				return
			}
		}
		if err != nil {
			_ = e.s.send(&wire.ExecInput{Kind: &wire.ExecInput_StdinEof{StdinEof: true}})
			return
		}
	}
}
