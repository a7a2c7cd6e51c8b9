package wire

import (
	"context"

	"github.com/containerd/ttrpc"
)

// ServiceName is how ttrpc names the service.
const ServiceName = "picolab.agent.v1.Agent"

// Middleware runs around every call: method is the name in the schema, next the call itself.
type Middleware func(ctx context.Context, method string, next func(context.Context) (any, error)) (any, error)

// Describe makes the ttrpc description of an agent. Calls with one request and one reply are described as streams that
// stream in neither direction, which looks the same on the wire: ttrpc's own unary methods crash on a stray data frame.
func Describe(svc AgentService, m Middleware) *ttrpc.ServiceDesc {
	d := describer{m: m, streams: make(map[string]ttrpc.Stream)}
	describeUnary(d, svc)
	describeLinks(d, svc)
	describeStreams(d, svc)
	return &ttrpc.ServiceDesc{Streams: d.streams}
}

type describer struct {
	m       Middleware
	streams map[string]ttrpc.Stream
}

func describeUnary(d describer, svc AgentService) {
	unary(d, "Hello", svc.Hello)
	unary(d, "Ping", svc.Ping)
	unary(d, "Settle", svc.Settle)
	unary(d, "Stat", svc.Stat)
	unary(d, "List", svc.List)
	unary(d, "Remove", svc.Remove)
	unary(d, "Mkdir", svc.Mkdir)
	unary(d, "Sysctl", svc.Sysctl)
	unary(d, "Modprobe", svc.Modprobe)
	unary(d, "Rmmod", svc.Rmmod)
	unary(d, "Power", svc.Power)
}

func describeLinks(d describer, svc AgentService) {
	unary(d, "Links", svc.Links)
	unary(d, "SetLink", svc.SetLink)
	unary(d, "AddLink", svc.AddLink)
	unary(d, "DelLink", svc.DelLink)
	unary(d, "AddAddr", svc.AddAddr)
	unary(d, "DelAddr", svc.DelAddr)
	unary(d, "AddRoute", svc.AddRoute)
	unary(d, "DelRoute", svc.DelRoute)
	unary(d, "AddNeigh", svc.AddNeigh)
	unary(d, "DelNeigh", svc.DelNeigh)
	unary(d, "Driver", svc.Driver)
	unary(d, "Features", svc.Features)
	unary(d, "SetFeatures", svc.SetFeatures)
	unary(d, "Channels", svc.Channels)
	unary(d, "SetChannels", svc.SetChannels)
	unary(d, "LinkStats", svc.LinkStats)
}

func describeStreams(d describer, svc AgentService) {
	d.stream("Exec", func(ctx context.Context, ss ttrpc.StreamServer) error { return svc.Exec(ctx, &agentExecServer{ss}) })
	d.stream("Get", func(ctx context.Context, ss ttrpc.StreamServer) error { return svc.Get(ctx, &agentGetServer{ss}) })
	d.stream("Put", func(ctx context.Context, ss ttrpc.StreamServer) error { return svc.Put(ctx, &agentPutServer{ss}) })
	d.stream("PingHost", func(ctx context.Context, ss ttrpc.StreamServer) error {
		return svc.PingHost(ctx, &agentPingHostServer{ss})
	})
	d.stream("Sink", func(ctx context.Context, ss ttrpc.StreamServer) error { return svc.Sink(ctx, &agentSinkServer{ss}) })
	d.stream("Source", func(ctx context.Context, ss ttrpc.StreamServer) error { return svc.Source(ctx, &agentSourceServer{ss}) })
	d.stream("Capture", func(ctx context.Context, ss ttrpc.StreamServer) error {
		return svc.Capture(ctx, &agentCaptureServer{ss})
	})
	d.stream("Dmesg", func(ctx context.Context, ss ttrpc.StreamServer) error { return svc.Dmesg(ctx, &agentDmesgServer{ss}) })
	d.stream("Load", func(ctx context.Context, ss ttrpc.StreamServer) error { return svc.Load(ctx, &agentLoadServer{ss}) })
}

// unary describes a call with one request and one reply.
func unary[Q, R any](d describer, method string, call func(context.Context, *Q) (*R, error)) {
	d.streams[method] = ttrpc.Stream{Handler: func(ctx context.Context, ss ttrpc.StreamServer) (any, error) {
		req := new(Q)
		if err := ss.RecvMsg(req); err != nil {
			return nil, ToStatus(Errorf(Code_INVALID, "%s: %w", method, err))
		}
		reply, err := d.m(ctx, method, func(ctx context.Context) (any, error) { return call(ctx, req) })
		return reply, ToStatus(err)
	}}
}

// stream describes a call that streams in both directions.
func (d describer) stream(method string, call func(context.Context, ttrpc.StreamServer) error) {
	handler := func(ctx context.Context, ss ttrpc.StreamServer) (any, error) {
		_, err := d.m(ctx, method, func(ctx context.Context) (any, error) { return nil, call(ctx, ss) })
		return nil, ToStatus(err)
	}
	d.streams[method] = ttrpc.Stream{Handler: handler, StreamingClient: true, StreamingServer: true}
}
