package verbs

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"picolab/guestagent/load/netperf"
	"picolab/guestagent/wire"
)

// Limits of the arguments of a generator.
const (
	maxLoadArgs  = 256
	maxLoadBytes = 64 << 10
)

// generator does what the command of its name does, until it has done it or ctx ends. Its result becomes JSON. The end of
// ctx is no error to one that has figures to show by then.
type generator func(ctx context.Context, args []string, r *loadReport) (result any, err error)

// generators are what Load runs.
func (v *Verbs) generators() map[string]generator {
	return map[string]generator{
		"forwarder":    v.forwarder,
		"l2open":       runL2,
		"linux-pktgen": runLinuxPktgen,
		"netperf":      runNetperf,
		"netserver":    runNetserver,
		"pkt-gen":      v.pktGen,
	}
}

// Load implements wire.AgentService.
func (v *Verbs) Load(ctx context.Context, ss wire.Agent_LoadServer) error {
	m, err := ss.Recv()
	if err != nil {
		return err
	}
	start := m.GetStart()
	if start == nil {
		return unexpected("load")
	}
	run, ok := v.generators()[start.Generator]
	if !ok {
		return wire.Errorf(wire.Code_UNSUPPORTED, "load: no generator is called %q", start.Generator)
	}
	if err := checkArgs(start.Args); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &loadReport{ss: ss, credit: wire.NewCredit()}
	go watch(cancel, ss, func(m *wire.LoadInput) error { // ends with the stream
		switch k := m.Kind.(type) {
		case *wire.LoadInput_Stop:
			return errStopped
		case *wire.LoadInput_Ack:
			return r.credit.Give(k.Ack)
		}
		return unexpected("load")
	})
	result, err := run(ctx, start.Args, r)
	if stop := context.Cause(ctx); stop != nil && (err != nil || !errors.Is(stop, errStopped)) {
		return stop
	}
	if err != nil {
		return finding(err)
	}
	return r.result(result)
}

// finding makes an error of a generator that nothing else explains one of the endpoint's: a test that failed.
func finding(err error) error {
	if wire.CodeOf(wire.Classify(err)) == wire.Code_INTERNAL {
		return wire.Errorf(wire.Code_GUEST, "%w", err)
	}
	return err
}

func checkArgs(args []string) error {
	n := 0
	for _, a := range args {
		n += len(a)
	}
	if len(args) > maxLoadArgs || n > maxLoadBytes {
		return wire.Errorf(wire.Code_TOO_BIG, "load: %d arguments of %d bytes: at most %d and %d", len(args), n, maxLoadArgs, maxLoadBytes)
	}
	return nil
}

// loadReport is what a generator tells the client. Its methods may be called by several goroutines until the generator
// has returned.
type loadReport struct {
	mu     sync.Mutex
	ss     wire.Agent_LoadServer
	credit *wire.Credit
}

func (r *loadReport) send(m *wire.LoadOutput) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ss.Send(m)
}

// ready says that the generator has begun; a server's address.
func (r *loadReport) ready(what string) error {
	return r.send(&wire.LoadOutput{Kind: &wire.LoadOutput_Ready{Ready: what}})
}

// progress tells figures so far, unless the client is behind.
func (r *loadReport) progress(v any) {
	b, err := json.Marshal(v)
	if err == nil && r.credit.Try() {
		_ = r.send(&wire.LoadOutput{Kind: &wire.LoadOutput_Progress{Progress: b}}) // a client that is gone ends ctx
	}
}

func (r *loadReport) result(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return wire.Errorf(wire.Code_INTERNAL, "load: result: %w", err)
	}
	return r.send(&wire.LoadOutput{Kind: &wire.LoadOutput_Result{Result: b}})
}

// loadProgress is the progress of generators that count one thing.
type loadProgress struct {
	Units   uint64  `json:"units"` // bytes, packets or transactions since the last
	Seconds float64 `json:"seconds"`
}

func runNetperf(ctx context.Context, args []string, r *loadReport) (any, error) {
	o, err := netperf.ParseOptions(args)
	if err == nil && (o.Help || o.Version || o.Selectors == "?") {
		err = errors.New("only tests")
	}
	if err != nil {
		return nil, wire.Errorf(wire.Code_INVALID, "netperf: %w", err)
	}
	o.Config.OnInterim = func(i netperf.Interim) { r.progress(loadProgress{i.Units, i.Span.Seconds()}) }
	return netperf.Measure(ctx, &o.Config, o.Repeat)
}

func runNetserver(ctx context.Context, args []string, r *loadReport) (any, error) {
	o, err := netperf.ParseServerOptions(args)
	if err == nil && (o.Help || o.Version) {
		err = errors.New("only serving")
	}
	if err != nil {
		return nil, wire.Errorf(wire.Code_INVALID, "netserver: %w", err)
	}
	l, err := o.Listen()
	if err != nil {
		return nil, err
	}
	defer l.Close()
	o.Server.MaxClients = min(o.Server.MaxClients, netperf.DefaultClients)
	if err := r.ready(l.Addr().String()); err != nil {
		return nil, err
	}
	return struct{}{}, o.Server.Serve(ctx, l)
}
