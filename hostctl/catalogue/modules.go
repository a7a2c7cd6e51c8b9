package catalogue

import (
	"context"
	"strings"
	"time"

	"picolab/guestagent/client"
	"picolab/hostctl/lab"
)

// Reload takes a module out of the endpoint's kernel and loads it with parameters, key=value.  On the host that takes leave
// to load modules, which only a host that is the lab's own gives.
func (n *Node) Reload(module string, params ...string) {
	n.did("modprobe -r %s && modprobe %s %s", module, module, strings.Join(params, " "))
	n.unload(module)
	n.tell("load module "+module, lab.WaitDriver, func(ctx context.Context) error { return n.agent.Modprobe(ctx, module, params...) })
}

// Rmmod takes a module out of the endpoint's kernel.
func (n *Node) Rmmod(module string) {
	n.did("modprobe -r %s", module)
	n.unload(module)
}

func (n *Node) unload(module string) {
	n.tell("unload module "+module, lab.WaitDriver, func(ctx context.Context) error { return n.agent.Rmmod(ctx, module) })
}

// ReloadCard takes the i-th card's link down, reloads its driver, and gives the card what the boot gave it: the link, which
// may have another name and is found by its address, is up, has its IPv4 address, and has answered.  There is a pause behind
// down and up.  [Node.Return] must have been called before.
func (n *Node) ReloadCard(i int, driver string, pause time.Duration) {
	link, down := n.Link(i).Name, false
	n.did("ip link set %s down", link)
	n.tell("set link "+link, lab.WaitLink, func(ctx context.Context) error {
		return n.agent.SetLink(ctx, link, client.LinkChange{Up: &down})
	})
	n.t.Pace(pause)
	n.Reload(driver)
	n.prepare(i)
	n.t.Pace(pause)
}

// Return has the i-th card be there as after the boot when the instance ends, if its driver is unloaded meanwhile.
func (n *Node) Return(i int, driver string) {
	n.t.Cleanup(func() {
		n.tell("load module "+driver, lab.WaitDriver, func(ctx context.Context) error { return n.agent.Modprobe(ctx, driver) })
		n.prepare(i)
	})
}

// prepare does for one card what is done for all after the boot.
func (n *Node) prepare(i int) {
	c := n.Card(i)
	n.did("ip link set LINK up && ip addr add %s dev LINK # that with address %s", c.Addr, c.MAC)
	n.tell("bring card back", lab.WaitTransfer, func(ctx context.Context) error { return prepareCard(ctx, n.t.lab, n.machine, c) })
}
