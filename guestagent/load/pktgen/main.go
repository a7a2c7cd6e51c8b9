package pktgen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"picolab/guestagent/load/getopt"
)

// Stdio is where a command writes.
type Stdio struct{ Out, Err io.Writer }

// Main is the pkt-gen command with the given kinds of ports. The end of ctx ends it early, which is no error.
func Main(ctx context.Context, std Stdio, ports Ports, args []string) error {
	o, err := ParseOptions(args)
	switch {
	case err != nil:
		return fmt.Errorf("%w; %w", err, getopt.ErrUsage)
	case o.help:
		_, err = io.WriteString(std.Out, Manual)
		return err
	}
	return o.Run(ctx, std, ports)
}

// Run opens the port, waits for its link, and does what the options say.
func (o *Options) Run(ctx context.Context, std Stdio, ports Ports) (err error) {
	p := &printer{out: std.Out, err: std.Err, o: o, json: o.json}
	p.note("main", "interface is %s", o.Port)
	if o.file != "" {
		if o.Replay, err = ReadReplay(o.file, o.timed); err != nil {
			return err
		}
		o.Replay.Once = o.once
	}
	port, err := ports.Open(ctx, o.Port, o.use())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, port.Close()) }()
	if o.sourceMAC == "" {
		o.Headers.SourceMAC = port.Hardware()
	}
	if o.dump {
		o.Dump = p.frame
	}
	p.begin(port)
	if !o.ready(ctx, p) {
		return nil
	}
	r, err := Run(ctx, port, o.Config, p.interval)
	p.summary(r)
	if err != nil {
		err = fmt.Errorf("%s: %w", o.Port, err)
	}
	return errors.Join(err, p.failed)
}

// ready waits for the link; false when ctx ended first.
func (o *Options) ready(ctx context.Context, p *printer) bool {
	wait := o.wait
	if wait < 0 {
		wait = linkTime(o.Port)
	}
	p.note("start_threads", "Wait %d secs for phy reset", wait/time.Second)
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
	}
	p.note("start_threads", "Ready...")
	if o.Function.sends() && o.Rate > 0 {
		pace := newPacer(o.Rate, o.burst())
		p.note("main", "Sending %d packets every  %.9f s", pace.burst, float64(pace.burst)/float64(o.Rate))
	}
	return true
}

// linkTime is what the original waits, and nothing for ports that have no PHY.
func linkTime(port string) time.Duration {
	for _, soft := range []string{"vale", "memif:", "vhost:", "tap"} {
		if strings.HasPrefix(port, soft) {
			return 0
		}
	}
	return 2 * time.Second
}
