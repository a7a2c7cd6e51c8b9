package verbs

import (
	"context"

	"picolab/guestagent/wire"
)

func (v *Verbs) PingHost(context.Context, wire.Agent_PingHostServer) error { return unexpected("x") }
func (v *Verbs) Sink(context.Context, wire.Agent_SinkServer) error         { return unexpected("x") }
func (v *Verbs) Source(context.Context, wire.Agent_SourceServer) error     { return unexpected("x") }
func (v *Verbs) Capture(context.Context, wire.Agent_CaptureServer) error   { return unexpected("x") }
func (v *Verbs) Dmesg(context.Context, wire.Agent_DmesgServer) error       { return unexpected("x") }
