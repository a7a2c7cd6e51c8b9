// Package verbs is what an agent can do: processes, files, links, addresses, routes, offloads, kernel modules, kernel
// parameters, the kernel log, power, and the load generators of package load.
//
// Verbs implements wire.AgentService; Hello is answered by the session. A streaming verb ends, with all it started, when its context does or
// when the client closes its side. Everything works in a plain network namespace as well as in a guest; what an endpoint
// does not have is wire.Code_UNSUPPORTED or the kernel's own error.
package verbs

import (
	"context"
	"errors"
	"io"

	"picolab/guestagent/internal/child"
	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/load/pktgen/ports"
	"picolab/guestagent/module"
	"picolab/guestagent/wire"
)

// Env is what the verbs depend on; the zero value serves a host side.
type Env struct {
	Children *child.Reaper // nil: children are waited for one by one
	Modules  *module.Set   // nil: no modules can be loaded
	// Cgroup is the folder of a cgroup2 hierarchy that commands may be confined in, "" where there is none. It is asked
	// before each command; nil: none.
	Cgroup func() string
	// Settle waits for cold plug; nil: there is none.
	Settle func(context.Context) (*wire.SettleReply, error)
	// Ports are those that pkt-gen and forwarder may open; nil: all that package ports knows.
	Ports pktgen.Ports
	// Power carries out a power action; nil: refused.
	Power func(ctx context.Context, action string) error
}

// Verbs carries out calls. It keeps no state between them.
type Verbs struct {
	env Env
}

// New makes the verbs of an endpoint.
func New(env Env) *Verbs {
	if env.Children == nil {
		env.Children = new(child.Reaper)
	}
	if env.Ports == nil {
		env.Ports = ports.All()
	}
	return &Verbs{env: env}
}

// Hello implements wire.AgentService: it is a session's to say.
func (v *Verbs) Hello(context.Context, *wire.HelloRequest) (*wire.HelloReply, error) {
	return nil, wire.Errorf(wire.Code_INTERNAL, "hello: not a session")
}

// Ping implements wire.AgentService.
func (v *Verbs) Ping(_ context.Context, req *wire.PingRequest) (*wire.PingReply, error) {
	return &wire.PingReply{Payload: req.Payload}, nil
}

// Settle implements wire.AgentService.
func (v *Verbs) Settle(ctx context.Context, _ *wire.SettleRequest) (*wire.SettleReply, error) {
	if v.env.Settle == nil {
		return &wire.SettleReply{}, nil
	}
	return v.env.Settle(ctx)
}

// Power implements wire.AgentService.
func (v *Verbs) Power(ctx context.Context, req *wire.PowerRequest) (*wire.Empty, error) {
	if v.env.Power == nil {
		return nil, wire.Errorf(wire.Code_REFUSED, "power %s: this endpoint is not a guest", req.Action)
	}
	return &wire.Empty{}, v.env.Power(ctx, req.Action)
}

// receiver is the receiving half of a streaming call.
type receiver[I any] interface{ Recv() (*I, error) }

// watch hands every message of the client to handle until the client's side ends or handle fails, then cancels ctx.
func watch[I any](cancel context.CancelCauseFunc, r receiver[I], handle func(*I) error) {
	for {
		m, err := r.Recv()
		if errors.Is(err, io.EOF) {
			err = errClientGone
		}
		if err == nil {
			err = handle(m)
		}
		if err != nil {
			cancel(err)
			return
		}
	}
}

var (
	errClientGone = wire.Errorf(wire.Code_LOST, "the client gave up")
	errStopped    = wire.Errorf(wire.Code_LOST, "stopped by the client")
)

// unexpected is the error for a message that does not fit the state of its stream.
func unexpected(verb string) error {
	return wire.Errorf(wire.Code_INVALID, "%s: unexpected message", verb)
}
