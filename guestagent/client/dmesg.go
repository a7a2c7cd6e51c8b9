package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"picolab/guestagent/wire"
)

// Dmesg calls fn for each line of the endpoint's kernel log, "[    1.234567] text"; with follow until ctx ends, which is
// then no error.
func (c *Client) Dmesg(ctx context.Context, follow bool, fn func(line string)) error {
	return c.dmesg(ctx, &wire.DmesgStart{Follow: follow}, fn)
}

// FollowDmesg is Dmesg for lines that appear from now on.
func (c *Client) FollowDmesg(ctx context.Context, fn func(line string)) error {
	return c.dmesg(ctx, &wire.DmesgStart{Follow: true, NewOnly: true}, fn)
}

func (c *Client) dmesg(ctx context.Context, start *wire.DmesgStart, fn func(line string)) error {
	s, err := open[wire.DmesgInput, wire.DmesgOutput](ctx, c, c.agent.Dmesg, &wire.DmesgInput{Kind: &wire.DmesgInput_Start{Start: start}})
	if err != nil {
		return err
	}
	defer s.done()
	for {
		m, err := s.recv()
		if errors.Is(err, io.EOF) || (start.Follow && ctx.Err() != nil) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, l := range m.Lines {
			fn(fmt.Sprintf("[%5d.%06d] %s", l.TimestampUs/1e6, l.TimestampUs%1e6, l.Text))
		}
		if err := s.consumed(func(a *wire.Ack) *wire.DmesgInput { return &wire.DmesgInput{Kind: &wire.DmesgInput_Ack{Ack: a}} }); err != nil {
			return err
		}
	}
}
