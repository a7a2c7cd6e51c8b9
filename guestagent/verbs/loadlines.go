package verbs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"

	"picolab/guestagent/load/getopt"

	"picolab/guestagent/load/forward"
	"picolab/guestagent/load/l2"
	"picolab/guestagent/load/linuxpktgen"
	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/wire"
)

// maxLoadLine is the longest line that a generator may print.
const maxLoadLine = wire.Chunk

func (v *Verbs) pktGen(ctx context.Context, args []string, r *loadReport) (any, error) {
	return byLines(args, r, func(args []string, out io.Writer) error {
		return pktgen.Main(ctx, pktgen.Stdio{Out: out, Err: io.Discard}, v.env.Ports, args)
	})
}

func (v *Verbs) forwarder(ctx context.Context, args []string, r *loadReport) (any, error) {
	return byLines(args, r, func(args []string, out io.Writer) error {
		return forward.Main(ctx, pktgen.Stdio{Out: out, Err: out}, v.env.Ports, args)
	})
}

// runL2 takes l2open's arguments, with l2send or l2recv as the command.
func runL2(ctx context.Context, args []string, r *loadReport) (any, error) {
	return byLines(args, r, func(args []string, out io.Writer) error {
		return l2.Main(ctx, pktgen.Stdio{Out: out, Err: io.Discard}, args)
	})
}

func runLinuxPktgen(ctx context.Context, args []string, r *loadReport) (any, error) {
	return byLines(args, r, func(args []string, out io.Writer) error {
		return linuxpktgen.Main(ctx, out, linuxpktgen.Dir, args)
	})
}

// byLines runs a command that prints objects, one a line: the last one is its result, those before are its progress.
func byLines(args []string, r *loadReport, run func(args []string, out io.Writer) error) (any, error) {
	out := &loadLines{report: r}
	err := run(append([]string{"--json"}, args...), out)
	if errors.Is(err, getopt.ErrUsage) {
		err = wire.Errorf(wire.Code_INVALID, "%w", err)
	}
	if err != nil {
		return nil, err
	}
	if !json.Valid(out.last) {
		return nil, wire.Errorf(wire.Code_INVALID, "load: the arguments ask for no result")
	}
	return json.RawMessage(out.last), nil
}

// loadLines hands on every line but the last.
type loadLines struct {
	report *loadReport
	rest   []byte // of a line that is not whole
	last   []byte
}

func (l *loadLines) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			break
		}
		if json.Valid(l.last) {
			l.report.progress(json.RawMessage(l.last))
		}
		l.last, l.rest = bytes.Clone(line), rest
	}
	if len(l.rest) > maxLoadLine {
		return 0, wire.Errorf(wire.Code_TOO_BIG, "load: a line of more than %d bytes", maxLoadLine)
	}
	return len(b), nil
}
