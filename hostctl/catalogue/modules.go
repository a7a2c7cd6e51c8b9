package catalogue

import (
	"context"
	"strings"

	"picolab/hostctl/lab"
)

// Reload takes a module out of the endpoint's kernel and loads it with parameters, key=value.  On the host that takes leave
// to load modules, which only a host that is the lab's own gives.
func (n *Node) Reload(module string, params ...string) {
	n.did("modprobe -r %s && modprobe %s %s", module, module, strings.Join(params, " "))
	n.tell("unload module "+module, lab.WaitDriver, func(ctx context.Context) error { return n.agent.Rmmod(ctx, module) })
	n.tell("load module "+module, lab.WaitDriver, func(ctx context.Context) error { return n.agent.Modprobe(ctx, module, params...) })
}
