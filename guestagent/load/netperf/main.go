package netperf

import (
	"context"
	"fmt"
	"io"

	"picolab/guestagent/load/getopt"
)

// Stdio is where a command writes.
type Stdio struct{ Out, Err io.Writer }

// Main is the netperf command. The end of ctx ends it early.
func Main(ctx context.Context, std Stdio, args []string) error {
	o, err := ParseOptions(args)
	switch {
	case err != nil:
		return fmt.Errorf("%w; %w", err, getopt.ErrUsage)
	case o.Help:
		_, err = io.WriteString(std.Out, Manual())
	case o.Version:
		err = writeLine(std.Out, "Netperf version 2.7.1 (picolab)")
	default:
		err = o.Run(ctx, std.Out, std.Err)
	}
	return err
}

// ServerMain is the netserver command. The end of ctx ends it.
func ServerMain(ctx context.Context, std Stdio, args []string) error {
	o, err := ParseServerOptions(args)
	switch {
	case err != nil:
		return fmt.Errorf("%w; %w", err, getopt.ErrUsage)
	case o.Help:
		_, err = io.WriteString(std.Out, ServerManual())
	case o.Version:
		err = writeLine(std.Out, "Netserver version 2.7.1 (picolab)")
	default:
		err = o.Run(ctx, std.Out, std.Err)
	}
	return err
}
