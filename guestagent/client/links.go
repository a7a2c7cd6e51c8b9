package client

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"picolab/guestagent/wire"
)

// LinkChange says what to change of a link; nil fields stay. The order is: down, MAC, MTU, rename, master, promisc, up.
type LinkChange struct {
	Up            *bool
	MTU           *int
	MAC           *string
	Promisc       *bool
	Allmulticast  *bool
	Rename        *string
	Master        *string // "" takes the link out of its master
	TxQueueLength *int
}

// Links lists the endpoint's links, by index.
func (c *Client) Links(ctx context.Context) ([]*wire.Link, error) {
	reply, err := unary(ctx, c.agent.Links, &wire.Empty{})
	if err != nil {
		return nil, err
	}
	return reply.Links, nil
}

// Link returns one link by its name.
func (c *Client) Link(ctx context.Context, name string) (*wire.Link, error) {
	return c.findLink(ctx, "link "+name, func(l *wire.Link) bool { return l.Name == name })
}

// LinkByMAC finds the physical link with this address, waiting up to wait for it to appear: a reloaded or hot-plugged
// device comes back under another name.
func (c *Client) LinkByMAC(ctx context.Context, mac string, wait time.Duration) (*wire.Link, error) {
	deadline := time.Now().Add(wait)
	for {
		l, err := c.findLink(ctx, "link with address "+mac, func(l *wire.Link) bool {
			return strings.EqualFold(l.Mac, mac) && l.Parent == "" && l.Kind != "bridge" && l.Kind != "bond"
		})
		if err == nil || wire.CodeOf(err) != wire.Code_NOT_FOUND || time.Now().After(deadline) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, wire.Classify(ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *Client) findLink(ctx context.Context, what string, match func(*wire.Link) bool) (*wire.Link, error) {
	links, err := c.Links(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if match(l) {
			return l, nil
		}
	}
	return nil, wire.Errorf(wire.Code_NOT_FOUND, "find %s: none of %d links", what, len(links))
}

// SetLink changes a link.
func (c *Client) SetLink(ctx context.Context, name string, ch LinkChange) error {
	_, err := unary(ctx, c.agent.SetLink, &wire.SetLinkRequest{
		Link: name, Up: ch.Up, Mtu: int32p(ch.MTU), Mac: ch.MAC, Promisc: ch.Promisc, Allmulticast: ch.Allmulticast,
		Rename: ch.Rename, Master: ch.Master, TxQueueLength: int32p(ch.TxQueueLength),
	})
	return err
}

func int32p(v *int) *int32 {
	if v == nil {
		return nil
	}
	n := int32(*v)
	return &n
}

// LinkUp sets a link administratively up, LinkDown down.
func (c *Client) LinkUp(ctx context.Context, name string) error {
	return c.SetLink(ctx, name, LinkChange{Up: new(true)})
}

// LinkDown sets a link administratively down.
func (c *Client) LinkDown(ctx context.Context, name string) error {
	return c.SetLink(ctx, name, LinkChange{Up: new(false)})
}

// SetMTU sets a link's MTU in bytes.
func (c *Client) SetMTU(ctx context.Context, name string, mtu int) error {
	return c.SetLink(ctx, name, LinkChange{MTU: &mtu})
}

// AddVLAN adds an 802.1Q link on parent (down).
func (c *Client) AddVLAN(ctx context.Context, parent, name string, id int) error {
	return c.addLink(ctx, &wire.AddLinkRequest{Name: name, Kind: "vlan", Parent: parent, VlanId: int32(id)})
}

// AddVeth adds a pair of connected links (down).
func (c *Client) AddVeth(ctx context.Context, name, peer string) error {
	return c.addLink(ctx, &wire.AddLinkRequest{Name: name, Kind: "veth", Peer: peer})
}

// AddBridge adds a bridge (down).
func (c *Client) AddBridge(ctx context.Context, name string) error {
	return c.addLink(ctx, &wire.AddLinkRequest{Name: name, Kind: "bridge"})
}

func (c *Client) addLink(ctx context.Context, req *wire.AddLinkRequest) error {
	_, err := unary(ctx, c.agent.AddLink, req)
	return err
}

// DelLink removes a software link.
func (c *Client) DelLink(ctx context.Context, name string) error {
	_, err := unary(ctx, c.agent.DelLink, &wire.LinkRequest{Link: name})
	return err
}

// AddAddr gives a link an address. One that is there already is not an error.
func (c *Client) AddAddr(ctx context.Context, link string, prefix netip.Prefix) error {
	_, err := unary(ctx, c.agent.AddAddr, &wire.AddrRequest{Link: link, Prefix: prefix.String()})
	return err
}

// DelAddr takes an address from a link.
func (c *Client) DelAddr(ctx context.Context, link string, prefix netip.Prefix) error {
	_, err := unary(ctx, c.agent.DelAddr, &wire.AddrRequest{Link: link, Prefix: prefix.String()})
	return err
}

// Route is a route of the main table.
type Route struct {
	Destination netip.Prefix // zero: the default route
	Gateway     netip.Addr   // zero: directly on Link
	Link        string
	MTU         int
}

func (r Route) request() *wire.RouteRequest {
	req := &wire.RouteRequest{Link: r.Link, Mtu: int32(r.MTU)}
	if r.Destination.IsValid() {
		req.Destination = r.Destination.String()
	}
	if r.Gateway.IsValid() {
		req.Gateway = r.Gateway.String()
	}
	return req
}

// AddRoute adds or replaces a route.
func (c *Client) AddRoute(ctx context.Context, r Route) error {
	_, err := unary(ctx, c.agent.AddRoute, r.request())
	return err
}

// DelRoute removes a route.
func (c *Client) DelRoute(ctx context.Context, r Route) error {
	_, err := unary(ctx, c.agent.DelRoute, r.request())
	return err
}

// AddNeigh adds or replaces a permanent neighbour (ARP) entry.
func (c *Client) AddNeigh(ctx context.Context, link string, ip netip.Addr, mac string) error {
	_, err := unary(ctx, c.agent.AddNeigh, &wire.NeighRequest{Link: link, Address: ip.String(), Mac: mac})
	return err
}

// DelNeigh removes a neighbour entry.
func (c *Client) DelNeigh(ctx context.Context, link string, ip netip.Addr) error {
	_, err := unary(ctx, c.agent.DelNeigh, &wire.NeighRequest{Link: link, Address: ip.String()})
	return err
}

// Join has a link receive frames to one more address, a group's or another station's, as `bridge fdb add MAC dev LINK self`
// does. One that it receives already is not an error.
func (c *Client) Join(ctx context.Context, link, mac string) error {
	_, err := unary(ctx, c.agent.AddNeigh, &wire.NeighRequest{Link: link, Mac: mac})
	return err
}

// Leave is the reverse of Join.
func (c *Client) Leave(ctx context.Context, link, mac string) error {
	_, err := unary(ctx, c.agent.DelNeigh, &wire.NeighRequest{Link: link, Mac: mac})
	return err
}

// Sysctl writes a kernel parameter (net.ipv4.ip_forward).
func (c *Client) Sysctl(ctx context.Context, key, value string) error {
	_, err := unary(ctx, c.agent.Sysctl, &wire.SysctlRequest{Key: key, Value: &value})
	return err
}

// ReadSysctl reads a kernel parameter.
func (c *Client) ReadSysctl(ctx context.Context, key string) (string, error) {
	reply, err := unary(ctx, c.agent.Sysctl, &wire.SysctlRequest{Key: key})
	if err != nil {
		return "", err
	}
	return reply.Value, nil
}
