package verbs

import (
	"context"

	"picolab/guestagent/wire"
)

// Modprobe implements wire.AgentService.
func (v *Verbs) Modprobe(_ context.Context, req *wire.ModprobeRequest) (*wire.Empty, error) {
	if v.env.Modules == nil {
		return nil, wire.Errorf(wire.Code_UNSUPPORTED, "load module %s: this endpoint loads no modules", req.Name)
	}
	return &wire.Empty{}, v.env.Modules.Load(req.Name, req.Params...)
}

// Rmmod implements wire.AgentService.
func (v *Verbs) Rmmod(_ context.Context, req *wire.ModuleRequest) (*wire.Empty, error) {
	if v.env.Modules == nil {
		return nil, wire.Errorf(wire.Code_UNSUPPORTED, "unload module %s: this endpoint loads no modules", req.Name)
	}
	return &wire.Empty{}, v.env.Modules.Unload(req.Name)
}
