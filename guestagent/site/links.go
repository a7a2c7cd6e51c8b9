package site

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"picolab/guestagent/dhcp"
	"picolab/guestagent/verbs"
	"picolab/guestagent/wire"

	"golang.org/x/sys/unix"
)

// links sets up the interfaces that are there and those that come, and keeps their leases.
type links struct {
	s     *Site
	verbs *verbs.Verbs
	known map[string]*port // by name
	work  sync.WaitGroup

	mu     sync.Mutex
	leases map[string]*dhcp.Lease // by interface
}

// port is an interface that was set up.
type port struct {
	index int32
	conf  Interface
	dhcp  bool
	stop  context.CancelFunc // of the DHCP client; nil while the link has no carrier
}

// serveNetwork looks at the interfaces whenever the kernel tells of a change, until ctx ends.
func (s *Site) serveNetwork(ctx context.Context) {
	l := &links{s: s, verbs: verbs.New(verbs.Env{Modules: s.o.Modules}), known: map[string]*port{}, leases: map[string]*dhcp.Lease{}}
	defer l.work.Wait()
	changes := make(chan struct{}, 1)
	f, err := listenLinks() // before the first look, so that no change falls between
	if err != nil {
		s.o.Logf("network: %v", err)
	} else {
		defer f.Close()
		l.work.Go(func() { l.tell(watchLinks(ctx, f, changes)) })
	}
	for ctx.Err() == nil {
		l.tell(l.look(ctx))
		select {
		case <-ctx.Done():
		case <-changes:
		case <-time.After(lookAgain): // a change may have been lost with a full socket
		}
	}
}

const lookAgain = 30 * time.Second

// tell says what went wrong; nothing here ends the others' network.
func (l *links) tell(err error) {
	if err != nil {
		l.s.o.Logf("network: %v", err)
	}
}

// look sets up what is new and starts or stops DHCP clients by the carrier.
func (l *links) look(ctx context.Context) error {
	list, err := l.verbs.Links(ctx, &wire.Empty{})
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, link := range list.Links {
		seen[link.Name] = true
		conf := l.s.network.of(link.Name, link.Mac)
		p := l.known[link.Name]
		if p == nil || p.index != link.Index {
			if p != nil {
				l.forget(link.Name)
			}
			if !l.ours(link) {
				continue
			}
			p = &port{index: link.Index, conf: conf, dhcp: conf.dhcp(l.s.network.dhcp())}
			l.known[link.Name] = p
			l.setUp(ctx, link.Name, conf)
		}
		l.carrier(ctx, link, p)
	}
	for _, name := range sortedKeys(l.known) {
		if !seen[name] {
			l.forget(name)
		}
	}
	return nil
}

// ours says whether an interface is set up: a card, or one that network.yaml names. What labs and people make besides is
// theirs.
func (l *links) ours(link *wire.Link) bool {
	if _, named := l.s.network.Interfaces[link.Name]; named {
		return true
	}
	return link.Kind == "device" && link.Name != "lo" && link.Mac != "" && isCard(filepath.Join("/sys/class/net", link.Name))
}

// isCard: an interface with a device behind it, and not a virtual function (SR-IOV), which is there to be given away.
func isCard(dir string) bool {
	_, device := os.Stat(filepath.Join(dir, "device"))
	_, function := os.Stat(filepath.Join(dir, "device/physfn"))
	return device == nil && function != nil
}

func (l *links) forget(name string) {
	if p := l.known[name]; p.stop != nil {
		p.stop()
	}
	delete(l.known, name)
}

// carrier runs the DHCP client while the link has a carrier and is not part of a bridge or a bond.
func (l *links) carrier(ctx context.Context, link *wire.Link, p *port) {
	want := p.dhcp && link.Carrier && link.Master == ""
	switch {
	case want && p.stop == nil:
		client, stop := context.WithCancel(ctx)
		p.stop = stop
		name, metric := link.Name, metricOf(link.Index)
		l.work.Go(func() { dhcp.Keep(client, name, l.hooks(name, metric)) })
	case !want && p.stop != nil:
		p.stop()
		p.stop = nil
	}
}

// metricOf lets earlier interfaces win; static routes have smaller metrics.
func metricOf(index int32) int { return 1000 + int(index) }

// setUp carries out what network.yaml says of an interface, and brings it up.
func (l *links) setUp(ctx context.Context, name string, conf Interface) {
	req := &wire.SetLinkRequest{Link: name, Up: new(true)}
	if conf.MTU != 0 {
		req.Mtu = new(int32(conf.MTU))
	}
	_, err := l.verbs.SetLink(ctx, req)
	l.tell(err)
	for _, a := range conf.Addresses {
		_, err := l.verbs.AddAddr(ctx, &wire.AddrRequest{Link: name, Prefix: a})
		l.tell(err)
	}
	for _, g := range conf.Gateways {
		gw, err := netip.ParseAddr(g)
		if err == nil {
			err = verbs.SetRoute(name, netip.PrefixFrom(unspecified(gw), 0), gw, netip.Addr{}, 0)
		}
		l.tell(err)
	}
	for _, v := range conf.VLANs {
		l.tell(l.addVLAN(ctx, name, v))
	}
	if len(conf.Addresses) > 0 {
		l.s.o.Logf("network: %s has %v", name, conf.Addresses)
	}
}

// unspecified is the address of the default route in an address's family.
func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// addVLAN makes a tagged interface; the change it causes makes look find it.
func (l *links) addVLAN(ctx context.Context, parent string, v VLAN) error {
	name := fmt.Sprintf("%s.%d", parent, v.ID)
	if !linkName(name) {
		return fmt.Errorf("VLAN %d of %s: the name %s is too long for an interface", v.ID, parent, name)
	}
	_, err := l.verbs.AddLink(ctx, &wire.AddLinkRequest{Name: name, Kind: "vlan", Parent: parent, VlanId: int32(v.ID)})
	if err != nil {
		return err
	}
	if l.s.network.Interfaces == nil {
		l.s.network.Interfaces = map[string]Interface{}
	}
	l.s.network.Interfaces[name] = v.plain()
	return nil
}

func (l *links) hooks(name string, metric int) dhcp.Hooks {
	return dhcp.Hooks{
		Logf: l.s.o.Logf,
		Got:  func(lease *dhcp.Lease) error { return l.got(name, metric, lease) },
		Lost: func(lease *dhcp.Lease) { l.lost(name, lease) },
	}
}

func (l *links) got(name string, metric int, lease *dhcp.Lease) error {
	ctx := context.Background() // nothing here waits
	if _, err := l.verbs.AddAddr(ctx, &wire.AddrRequest{Link: name, Prefix: lease.Address.String()}); err != nil {
		return err
	}
	if lease.MTU != 0 {
		_, err := l.verbs.SetLink(ctx, &wire.SetLinkRequest{Link: name, Mtu: new(int32(lease.MTU))})
		l.tell(err)
	}
	for _, r := range lease.Routes {
		l.tell(verbs.SetRoute(name, r.Destination, r.Gateway, lease.Address.Addr(), metric))
	}
	l.s.o.Logf("network: %s has %v from the DHCP server %v", name, lease.Address, lease.Server)
	return l.note(name, lease)
}

func (l *links) lost(name string, lease *dhcp.Lease) {
	// The interface may be gone with its address.
	_, err := l.verbs.DelAddr(context.Background(), &wire.AddrRequest{Link: name, Prefix: lease.Address.String()})
	if err == nil {
		l.s.o.Logf("network: %s no longer has %v", name, lease.Address)
	}
	l.tell(l.note(name, nil))
}

// note keeps resolv.conf in step with the leases.
func (l *links) note(name string, lease *dhcp.Lease) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if delete(l.leases, name); lease != nil {
		l.leases[name] = lease
	}
	var servers, search []string
	for _, n := range sortedKeys(l.leases) {
		servers, search = append(servers, l.leases[n].DNS...), append(search, l.leases[n].Search...)
	}
	return l.s.writeResolver(slices.Clip(servers), slices.Clip(search))
}

// listenLinks opens a socket on which the kernel tells of links' changes (rtnetlink(7), RTMGRP_LINK).
func listenLinks() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("watch links: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("watch links: %w", err)
	}
	return os.NewFile(uintptr(fd), "link changes"), nil
}

// watchLinks sends to changes whenever something comes from f, until ctx ends.
func watchLinks(ctx context.Context, f *os.File, changes chan<- struct{}) error {
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer stop()
	for buf := make([]byte, 1<<16); ; {
		_, err := f.Read(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !errors.Is(err, unix.ENOBUFS): // lost changes are a change too
			return fmt.Errorf("watch links: %w", err)
		}
		select {
		case changes <- struct{}{}:
		default: // it will look anyway
		}
	}
}
