package fake

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/wire"
	"picolab/hostctl/catalogue"
)

// node is an endpoint: catalogue.Agent of the host or a guest, and
// catalogue.Machine and Monitor of a guest.
type node struct {
	lab      *Lab
	name     string
	spec     catalogue.Guest
	cards    []catalogue.Card
	links    []*wire.Link
	dead     map[string]bool   // links whose wire set_link cut
	noStatus map[string]bool   // links without the status feature
	features map[string]string // of virtio links
	wireMAC  map[string]string // what a link sends from
	dmesg    []string
	findings []catalogue.Finding
	joined   []string // addresses beside the cards' own
	offloads map[string]map[string]*wire.Feature
	sent     map[string]uint64 // counters, of all links
	unglued  int               // fragments that came to too much
	moves    int
	events   []event
	heard    chan struct{} // closed and replaced when there is another
	power    power
	sysctls  map[string]string
	unloaded map[string][]*wire.Link // links of drivers that are not loaded
	unloads  chan struct{}           // closed at the first try to unload one
	lost     bool
}

// addCard makes the guest's link of a card.
func (n *node) addCard(mac, model string, options []string) {
	name := fmt.Sprintf("eth%d", len(n.links))
	driver := drivers[model]
	if n.lab.Faults.Driver != "" {
		driver = n.lab.Faults.Driver
	}
	n.links = append(n.links, &wire.Link{Name: name, Index: int32(len(n.links) + 2), Mac: mac, Mtu: 1500,
		MaxMtu: maxMTU[model], Driver: driver, Kind: "device", Operstate: "down"})
	n.wireMAC[name] = mac
	n.set(&n.noStatus, name, slices.Contains(options, "status=off"))
	if model == "virtio" {
		if n.features == nil {
			n.features = map[string]string{}
		}
		n.features[name] = n.lab.Faults.features(options)
	}
}

func (n *node) set(m *map[string]bool, key string, v bool) {
	if *m == nil {
		*m = map[string]bool{}
	}
	(*m)[key] = v
}

// features is the sysfs string of a virtio device with these options.
func (f Faults) features(options []string) string {
	bits := []byte(strings.Repeat("0", 64))
	for bit, option := range map[int]string{0: "csum=off", 1: "guest_csum=off", 11: "host_tso4=off", 16: "status=off", 28: "indirect_desc=off", 29: "event_idx=off"} {
		if !slices.Contains(options, option) {
			bits[bit] = '1'
		}
	}
	for _, bit := range f.Flip {
		bits[bit] ^= 1
	}
	return string(bits)
}

func notFound(what string) error { return wire.Errorf(wire.Code_NOT_FOUND, "%s: not found", what) }

func (n *node) find(name string) (*wire.Link, error) {
	for _, l := range n.links {
		if l.Name == name {
			return l, nil
		}
	}
	return nil, notFound("link " + name)
}

// state brings what follows from the settings of a link up to date.
func (n *node) state(l *wire.Link) {
	l.Carrier = l.Up && !n.dead[l.Name]
	l.Operstate = "down"
	if l.Carrier {
		l.Operstate = "up"
	}
}

// Ping implements catalogue.Agent.
func (n *node) Ping(ctx context.Context) error { return n.silence(ctx) }

// ReadFile implements catalogue.Agent for the files of sysfs that cases read.
func (n *node) ReadFile(_ context.Context, path string) ([]byte, error) {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	if path == "/proc/net/snmp" {
		return fmt.Appendf(nil, "Ip: Forwarding ReasmFails FragOKs\nIp: 2 %d 0\nTcp: A\nTcp: 1\n", n.unglued), nil
	}
	if text, ok := n.system(path); ok {
		return []byte(text), nil
	}
	if text, ok := n.kernelFile(path); ok {
		return []byte(text), nil
	}
	rest, _ := strings.CutPrefix(path, "/sys/class/net/")
	name, file, _ := strings.Cut(rest, "/")
	l, err := n.find(name)
	if err != nil {
		return nil, err
	}
	switch file {
	case "operstate":
		return []byte(l.Operstate + "\n"), nil
	case "device/features":
		return []byte(n.features[name] + "\n"), nil
	}
	return nil, notFound(path)
}

// kernelFile is a file of the kernel that is not a link's.
func (n *node) kernelFile(path string) (string, bool) {
	switch {
	case path == "/sys/power/mem_sleep" && n.lab.Faults.Shallow:
		return "[s2idle]", true
	case path == "/sys/power/mem_sleep":
		return "s2idle [deep]", true
	case path == "/proc/net/bonding/"+bondLink:
		return n.bondStatus(), true
	}
	if key, ok := strings.CutPrefix(path, "/proc/sys/"); ok {
		return cmp.Or(n.sysctls[strings.ReplaceAll(key, "/", ".")], "0"), true
	}
	return "", false
}

// Sysctl implements catalogue.Agent.
func (n *node) Sysctl(_ context.Context, key, value string) error {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	if n.sysctls == nil {
		n.sysctls = map[string]string{}
	}
	n.sysctls[key] = value
	return nil
}

// Dmesg implements catalogue.Agent.
func (n *node) Dmesg(_ context.Context, _ bool, fn func(string)) error {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	for _, line := range n.dmesg {
		fn(line)
	}
	return nil
}

// Links implements catalogue.Agent.
func (n *node) Links(context.Context) ([]*wire.Link, error) {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	if n.lost {
		return nil, wire.Errorf(wire.Code_LOST, "connection to the agent lost")
	}
	var all []*wire.Link
	for _, l := range n.links {
		c := &wire.Link{Name: l.Name, Index: l.Index, Mac: l.Mac, Mtu: l.Mtu, MaxMtu: l.MaxMtu, Up: l.Up,
			Operstate: l.Operstate, Carrier: l.Carrier, Driver: l.Driver, Promisc: l.Promisc, Kind: l.Kind, Parent: l.Parent,
			Master: l.Master, Addresses: slices.Clone(l.Addresses), VlanId: l.VlanId}
		all = append(all, c)
	}
	return all, nil
}

// LinkByMAC implements catalogue.Agent.
func (n *node) LinkByMAC(ctx context.Context, mac string, _ time.Duration) (*wire.Link, error) {
	links, err := n.Links(ctx)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(links, catalogue.ByMAC(mac)); i >= 0 {
		return links[i], nil
	}
	return nil, wire.Errorf(wire.Code_NOT_FOUND, "no link with address %s", mac)
}

// SetLink implements catalogue.Agent.
func (n *node) SetLink(_ context.Context, name string, ch client.LinkChange) error {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	l, err := n.find(name)
	if err != nil {
		return err
	}
	if f := n.lab.Faults; ch.MTU != nil && l.MaxMtu > 0 && !f.HighMTU && (int32(*ch.MTU) > l.MaxMtu || f.LowMTU && int32(*ch.MTU) == l.MaxMtu) {
		return wire.Errorf(wire.Code_GUEST, "set mtu %d: invalid argument", *ch.MTU)
	}
	if ch.Up != nil {
		l.Up = *ch.Up
	}
	if ch.Master != nil {
		l.Master = *ch.Master
		l.Up = l.Master != "" // a bond opens its ports and closes what it releases
	}
	if ch.MTU != nil && !(n.lab.Faults.Forget && *ch.MTU == 1500) {
		l.Mtu = int32(*ch.MTU)
	}
	if ch.MAC != nil {
		l.Mac = *ch.MAC
		if !n.lab.Faults.KeepMAC {
			n.wireMAC[name] = *ch.MAC
		}
	}
	if ch.Promisc != nil {
		l.Promisc = *ch.Promisc || l.Promisc && n.lab.Faults.KeepPromisc
	}
	n.state(l)
	return nil
}

// AddVLAN implements catalogue.Agent.
func (n *node) AddVLAN(_ context.Context, parent, name string, id int) error {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	p, err := n.find(parent)
	if err != nil {
		return err
	}
	n.links = append(n.links, &wire.Link{Name: name, Mac: p.Mac, Mtu: 1500, Parent: parent, Kind: "vlan", VlanId: int32(id)})
	return nil
}

// DelLink implements catalogue.Agent.
func (n *node) DelLink(_ context.Context, name string) error {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	if _, err := n.find(name); err != nil {
		return err
	}
	if !n.lab.Faults.KeepVLAN {
		n.links = slices.DeleteFunc(n.links, func(l *wire.Link) bool { return l.Name == name })
	}
	return nil
}

// AddAddr implements catalogue.Agent.
func (n *node) AddAddr(_ context.Context, link string, prefix netip.Prefix) error {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	l, err := n.find(link)
	if err != nil {
		return err
	}
	if !slices.Contains(l.Addresses, prefix.String()) {
		l.Addresses = append(l.Addresses, prefix.String())
	}
	return nil
}

// DelAddr implements catalogue.Agent.
func (n *node) DelAddr(_ context.Context, link string, prefix netip.Prefix) error {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	l, err := n.find(link)
	if err != nil {
		return err
	}
	l.Addresses = slices.DeleteFunc(l.Addresses, func(a string) bool { return a == prefix.String() })
	return nil
}

// Driver implements catalogue.Agent.
func (n *node) Driver(ctx context.Context, link string) (client.DriverInfo, error) {
	if err := n.silence(ctx); err != nil {
		return client.DriverInfo{}, err
	}
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	l, err := n.find(link)
	if err != nil {
		return client.DriverInfo{}, err
	}
	return client.DriverInfo{Driver: l.Driver}, nil
}

// What cases set without looking at it.

func (n *node) AddRoute(context.Context, client.Route) error               { return nil }
func (n *node) DelRoute(context.Context, client.Route) error               { return nil }
func (n *node) AddNeigh(context.Context, string, netip.Addr, string) error { return nil }
func (n *node) DelNeigh(context.Context, string, netip.Addr) error         { return nil }
func (n *node) WriteFile(context.Context, string, uint32, []byte) error    { return nil }
