package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"picolab/guestagent/wire"
)

// LoadOptions are a traffic generator of the endpoint and the arguments of its command.
type LoadOptions struct {
	Generator  string // netperf, netserver, pkt-gen, ...
	Args       []string
	OnProgress func(json.RawMessage) // by a goroutine of the call's; nil: not told
}

// Load is a running generator.
type Load struct {
	Ready string // what a server told when it had begun: its address

	s     *stream[wire.LoadInput, wire.LoadOutput]
	o     LoadOptions
	first *wire.LoadOutput // came before anybody waited
}

// Load starts a generator. It returns when a server listens, and at once for those that are none. Wait or Stop must
// follow; cancelling ctx ends it.
func (c *Client) Load(ctx context.Context, o LoadOptions) (*Load, error) {
	start := &wire.LoadStart{Generator: o.Generator, Args: o.Args}
	s, err := open[wire.LoadInput, wire.LoadOutput](ctx, c, c.agent.Load, &wire.LoadInput{Kind: &wire.LoadInput_Start{Start: start}})
	if err != nil {
		return nil, err
	}
	return &Load{s: s, o: o}, nil
}

// Serve is Load for generators that tell when they have begun: it waits for that.
func (c *Client) Serve(ctx context.Context, o LoadOptions) (*Load, error) {
	l, err := c.Load(ctx, o)
	if err != nil {
		return nil, err
	}
	m, err := l.s.recv()
	if err != nil {
		l.s.done()
		return nil, err
	}
	l.Ready, l.first = m.GetReady(), m
	return l, nil
}

// Wait returns the generator's result, JSON, when it has ended.
func (l *Load) Wait() (json.RawMessage, error) {
	defer l.s.done()
	for {
		m, err := l.next()
		if err != nil {
			return nil, err
		}
		switch k := m.Kind.(type) {
		case *wire.LoadOutput_Result:
			return k.Result, nil
		case *wire.LoadOutput_Progress:
			if l.o.OnProgress != nil {
				l.o.OnProgress(k.Progress)
			}
			_ = l.s.consumed(func(a *wire.Ack) *wire.LoadInput { return &wire.LoadInput{Kind: &wire.LoadInput_Ack{Ack: a}} })
		}
	}
}

func (l *Load) next() (*wire.LoadOutput, error) {
	if m := l.first; m != nil {
		l.first = nil
		return m, nil
	}
	m, err := l.s.recv()
	if errors.Is(err, io.EOF) {
		err = wire.Errorf(wire.Code_INTERNAL, "load: ended without a result")
	}
	return m, err
}

// Stop ends the generator early; it is an error to those that have nothing to show then.
func (l *Load) Stop() (json.RawMessage, error) {
	_ = l.s.send(&wire.LoadInput{Kind: &wire.LoadInput_Stop{Stop: true}}) // fails when it has ended already
	return l.Wait()
}

// Netperf is the part of a netperf result that is asked for most; JSON has all of it.
type Netperf struct {
	Test            string          `json:"test"`
	Elapsed         float64         `json:"elapsed_s"`
	Throughput      float64         `json:"bits_per_s"` // as received
	TransactionRate float64         `json:"transactions_per_s"`
	Transactions    uint64          `json:"transactions"`
	Local           NetperfEnd      `json:"local"`
	Remote          NetperfEnd      `json:"remote"`
	JSON            json.RawMessage `json:"-"`
}

// NetperfEnd is one side of a result.
type NetperfEnd struct {
	BytesSent     uint64 `json:"bytes_sent"`
	BytesReceived uint64 `json:"bytes_received"`
	Congestion    string `json:"congestion_control"`
}

// Netperf runs netperf on the endpoint with the arguments of its command.
func (c *Client) Netperf(ctx context.Context, args ...string) (*Netperf, error) {
	l, err := c.Load(ctx, LoadOptions{Generator: "netperf", Args: args})
	if err != nil {
		return nil, err
	}
	b, err := l.Wait()
	if err != nil {
		return nil, err
	}
	r := &Netperf{JSON: b}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, wire.Errorf(wire.Code_INTERNAL, "netperf result: %w", err)
	}
	return r, nil
}
