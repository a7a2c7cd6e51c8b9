package catalogue

import (
	"context"
	"net/netip"

	"picolab/hostctl/lab"
)

// Outside joins another host to a link, one that is not the lab's: a network namespace behind a bridge of its own. It goes
// when the instance ends.
func (t *T) Outside(link string) (*Node, netip.Addr) {
	host := t.Host()
	host.did("ip netns add outside && ip link add outbr type bridge && ip link set outbr up")
	host.did("ip link add near type veth peer name far && ip link set near master %s up && ip link set far master outbr up", t.Segment(link).Bridge)
	host.did("ip link add port type veth peer name out netns outside && ip link set port master outbr up")
	o := ask(host, "make a host outside", lab.WaitHost, 0, func(ctx context.Context) (Outside, error) { return t.lab.Outside(ctx, link) })
	host.undo("close the host outside", lab.WaitHost, o.Close)
	outside := &Node{t: t, name: "outside", agent: o.Agent}
	outside.did("ip link set out up && ip addr add %s dev out", o.Addr)
	return outside, o.Addr.Addr()
}
