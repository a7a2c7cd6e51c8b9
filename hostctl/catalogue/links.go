package catalogue

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/wire"
	"picolab/hostctl/lab"
)

// Links returns the endpoint's network links.
func (n *Node) Links() []*wire.Link {
	return ask(n, "list links", lab.WaitAgent, 0, func(ctx context.Context) ([]*wire.Link, error) { return n.agent.Links(ctx) })
}

// Find returns the link that match accepts, or nil.
func (n *Node) Find(match func(*wire.Link) bool) *wire.Link {
	for _, l := range n.Links() {
		if match(l) {
			return l
		}
	}
	return nil
}

// ByMAC matches the physical link with an address: a VLAN on it has the same.
func ByMAC(mac string) func(*wire.Link) bool {
	return func(l *wire.Link) bool { return strings.EqualFold(l.Mac, mac) && l.Parent == "" }
}

// ByName matches the link of a name.
func ByName(name string) func(*wire.Link) bool {
	return func(l *wire.Link) bool { return l.Name == name }
}

// Link returns the link of the guest's i-th network card, found by its address:
// names change with drivers and hotplug.
func (n *Node) Link(i int) *wire.Link {
	mac := n.Card(i).MAC
	l := n.Find(ByMAC(mac))
	if l == nil {
		n.t.Fatalf("%s: no link with address %s", n.name, mac)
	}
	return l
}

// LinkNamed returns the link of a name.
func (n *Node) LinkNamed(name string) *wire.Link {
	l := n.Find(ByName(name))
	if l == nil {
		n.blame("find link", wire.Errorf(wire.Code_NOT_FOUND, "no link %q", name))
	}
	return l
}

// AwaitUp waits until a link carries traffic again, after a change that made its
// driver start anew, and returns it as it is then, up or not.  A carrier that is
// lost shows at once, in operstate up to a second later; one that is back lets
// packets out when operstate says so (Linux, net/core/link_watch.c).
func (n *Node) AwaitUp(link string) *wire.Link {
	var l *wire.Link
	n.t.Poll(lab.WaitLink, func() bool {
		l = n.LinkNamed(link)
		return l.Carrier && l.Operstate == "up"
	})
	return l
}

// Operstate returns a link's state as /sys/class/net/LINK/operstate has it.
func (n *Node) Operstate(link string) string {
	return n.ReadFile("/sys/class/net/" + link + "/operstate")
}

// SetLink changes a link.
func (n *Node) SetLink(name string, ch client.LinkChange) {
	if err := n.TrySetLink(name, ch); err != nil {
		n.blame("set link "+name, err)
	}
}

// TrySetLink is [Node.SetLink] that returns a guest's kernel's refusal.
func (n *Node) TrySetLink(name string, ch client.LinkChange) (refusal error) {
	before := n.LinkNamed(name)
	n.did("%s", linkCommand(name, ch))
	n.undo("restore link "+name, lab.WaitLink, func(ctx context.Context) error {
		return n.agent.SetLink(ctx, name, inverse(ch, before))
	})
	n.tell("set link "+name, lab.WaitLink, func(ctx context.Context) error {
		err := n.agent.SetLink(ctx, name, ch)
		if n.machine != nil && guestsFault(err) {
			refusal, err = err, nil
		}
		return err
	})
	return refusal
}

// inverse returns the change that puts back what ch changes.
func inverse(ch client.LinkChange, before *wire.Link) client.LinkChange {
	var inv client.LinkChange
	if ch.Up != nil {
		inv.Up = &before.Up
	}
	if ch.MTU != nil {
		mtu := int(before.Mtu)
		inv.MTU = &mtu
	}
	if ch.MAC != nil {
		inv.MAC = &before.Mac
	}
	if ch.Promisc != nil {
		inv.Promisc = &before.Promisc
	}
	if ch.Master != nil {
		inv.Master = &before.Master
	}
	return inv
}

// SetUp sets a link's administrative state.
func (n *Node) SetUp(link string, up bool) { n.SetLink(link, client.LinkChange{Up: &up}) }

// SetMTU sets a link's MTU in bytes.
func (n *Node) SetMTU(link string, mtu int) { n.SetLink(link, client.LinkChange{MTU: &mtu}) }

// SetMAC sets a link's address.
func (n *Node) SetMAC(link, mac string) { n.SetLink(link, client.LinkChange{MAC: &mac}) }

// AddVLAN makes an 802.1Q link of parent and takes it up.
func (n *Node) AddVLAN(parent string, id int, name string, addr netip.Prefix) {
	n.did("ip link add link %s name %s type vlan id %d && ip link set %s up && ip addr add %s dev %s", parent, name, id, name, addr, name)
	n.undo("remove "+name, lab.WaitLink, func(ctx context.Context) error { return n.agent.DelLink(ctx, name) })
	n.tell("add vlan "+name, lab.WaitLink, func(ctx context.Context) error { return n.agent.AddVLAN(ctx, parent, name, id) })
	up := true
	n.tell("set link "+name, lab.WaitLink, func(ctx context.Context) error {
		return n.agent.SetLink(ctx, name, client.LinkChange{Up: &up})
	})
	n.tell("add address to "+name, lab.WaitLink, func(ctx context.Context) error { return n.agent.AddAddr(ctx, name, addr) })
}

// DelLink removes a link.
func (n *Node) DelLink(name string) {
	n.did("ip link del %s", name)
	n.tell("remove link "+name, lab.WaitLink, func(ctx context.Context) error { return n.agent.DelLink(ctx, name) })
}

// AddAddr gives a link an address.
func (n *Node) AddAddr(link string, addr netip.Prefix) {
	n.did("ip addr add %s dev %s", addr, link)
	n.undo("remove address", lab.WaitLink, func(ctx context.Context) error { return goneIsFine(n.agent.DelAddr(ctx, link, addr)) })
	n.tell("add address to "+link, lab.WaitLink, func(ctx context.Context) error { return n.agent.AddAddr(ctx, link, addr) })
}

// DelAddr takes an address from a link.
func (n *Node) DelAddr(link string, addr netip.Prefix) {
	n.did("ip addr del %s dev %s", addr, link)
	n.undo("restore address", lab.WaitLink, func(ctx context.Context) error { return n.agent.AddAddr(ctx, link, addr) })
	n.tell("remove address from "+link, lab.WaitLink, func(ctx context.Context) error { return n.agent.DelAddr(ctx, link, addr) })
}

// Flap takes a link down and up, with a pause after each.
func (n *Node) Flap(link string, down, up time.Duration) {
	for _, s := range []struct {
		up    bool
		pause time.Duration
	}{{false, down}, {true, up}} {
		ch := client.LinkChange{Up: &s.up}
		n.did("%s; sleep %g", linkCommand(link, ch), s.pause.Seconds())
		n.tell("set link "+link, lab.WaitLink, func(ctx context.Context) error { return n.agent.SetLink(ctx, link, ch) })
		n.t.Pace(s.pause)
	}
}

// SetMaster makes a link a port of another.
func (n *Node) SetMaster(link, master string) { n.SetLink(link, client.LinkChange{Master: &master}) }

// AddRoute adds a route.
func (n *Node) AddRoute(r client.Route) {
	n.did("ip route add %s", r.Destination)
	n.undo("remove route", lab.WaitLink, func(ctx context.Context) error { return goneIsFine(n.agent.DelRoute(ctx, r)) })
	n.tell("add route to "+r.Destination.String(), lab.WaitLink, func(ctx context.Context) error { return n.agent.AddRoute(ctx, r) })
}

// Join has a link receive frames to one more address, a group's or a station's.
func (n *Node) Join(link, mac string) {
	n.did("bridge fdb add %s dev %s self", mac, link)
	n.undo("leave "+mac, lab.WaitLink, func(ctx context.Context) error { return n.agent.Leave(ctx, link, mac) })
	n.tell("join "+mac, lab.WaitLink, func(ctx context.Context) error { return n.agent.Join(ctx, link, mac) })
}

// AddNeigh adds a static neighbour, as arp -s does.
func (n *Node) AddNeigh(link string, ip netip.Addr, mac string) {
	n.did("ip neigh add %s lladdr %s dev %s nud permanent", ip, mac, link)
	n.undo("remove neighbour", lab.WaitLink, func(ctx context.Context) error { return goneIsFine(n.agent.DelNeigh(ctx, link, ip)) })
	n.tell("add neighbour "+ip.String(), lab.WaitLink, func(ctx context.Context) error { return n.agent.AddNeigh(ctx, link, ip, mac) })
}

// Forget drops what the endpoint learned of an address, as arp -d does, so that
// the next packet asks for it anew.  What it learns until the end of the instance
// is forgotten then: the address may be one that only this instance has.
func (n *Node) Forget(link string, ip netip.Addr) {
	n.did("ip neigh del %s dev %s", ip, link)
	forget := func(ctx context.Context) error { return goneIsFine(n.agent.DelNeigh(ctx, link, ip)) }
	n.undo("forget neighbour", lab.WaitLink, forget)
	n.tell("forget neighbour "+ip.String(), lab.WaitLink, forget)
}

// goneIsFine turns "there is none" into success.
func goneIsFine(err error) error {
	if wire.CodeOf(err) == wire.Code_NOT_FOUND || errors.Is(err, errNoAddress) || errors.Is(err, errNoProcess) {
		return nil
	}
	return err
}

// Power does what its name says to a guest: "off", "reboot", "suspend", "crash".
func (n *Node) Power(action string) {
	n.did("%s", map[string]string{"off": "poweroff", "reboot": "reboot", "suspend": "echo mem > /sys/power/state",
		"crash": "echo c > /proc/sysrq-trigger"}[action])
	n.tell("power "+action, lab.WaitShutdown, func(ctx context.Context) error { return n.agent.Power(ctx, action) })
}

// Sysctl sets a kernel parameter, "net.ipv4.ip_forward".
func (n *Node) Sysctl(key, value string) {
	before := n.ReadFile("/proc/sys/" + strings.ReplaceAll(key, ".", "/"))
	n.did("sysctl -w %s=%s", key, value)
	n.undo("restore "+key, lab.WaitAgent, func(ctx context.Context) error { return n.agent.Sysctl(ctx, key, before) })
	n.tell("set "+key, lab.WaitAgent, func(ctx context.Context) error { return n.agent.Sysctl(ctx, key, value) })
}

// Driver returns a link's driver, as ethtool -i does.
func (n *Node) Driver(link string) client.DriverInfo {
	n.did("ethtool -i %s", link)
	return ask(n, "get driver of "+link, lab.WaitAgent, 0, func(ctx context.Context) (client.DriverInfo, error) {
		return n.agent.Driver(ctx, link)
	})
}

// ReadFile returns a small file without the space around it, as sysfs wants.
func (n *Node) ReadFile(path string) string {
	b := ask(n, "read "+path, lab.WaitAgent, 0, func(ctx context.Context) ([]byte, error) { return n.agent.ReadFile(ctx, path) })
	return strings.TrimSpace(string(b))
}

// WriteFile writes what a kernel's file below /sys or /proc takes.  Nobody puts back what was there.
func (n *Node) WriteFile(path, text string) {
	n.did("echo %s > %s", text, path)
	n.tell("write "+path, lab.WaitAgent, func(ctx context.Context) error { return n.agent.WriteFile(ctx, path, 0, []byte(text)) })
}
