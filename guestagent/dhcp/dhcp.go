// Package dhcp keeps an IPv4 lease on a link: RFC 2131 as a client, with the options for the mask, routers, classless
// routes (RFC 3442), name servers, domains and MTU. It sends and receives on a packet socket, so it needs no address, and
// CAP_NET_RAW. It changes no link itself: that is for Hooks.
package dhcp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

// Lease is what a server has given.
type Lease struct {
	Address netip.Prefix
	Server  netip.Addr
	Routes  []Route
	DNS     []string
	Search  []string
	MTU     int // bytes; 0 = the server does not say
	Length  time.Duration
	Renew   time.Duration // when to ask for more of it, less than Length
}

// Route is a route that came with a lease.
type Route struct {
	Destination netip.Prefix // /0 is the default route
	Gateway     netip.Addr
}

// Hooks carry a lease out.
type Hooks struct {
	Got  func(*Lease) error // a lease, new or changed; called again for a renewed one only when it differs
	Lost func(*Lease)       // what was got is over: it was not renewed, or ctx ended
	Logf func(format string, args ...any)
}

// Times of one exchange and between exchanges.
const (
	answerTime = time.Second // for the answer to a message, doubled at each try
	tries      = 4           // of one message
	firstPause = 2 * time.Second
	lastPause  = time.Minute
	shortest   = 10 * time.Second // a lease that a server may give; shorter ones count as this
)

// Keep asks for a lease on link and renews it until ctx ends. Nobody answering is told once, and tried again for ever, at
// growing intervals up to a minute.
func Keep(ctx context.Context, link string, h Hooks) {
	pause, told := firstPause, ""
	for ctx.Err() == nil {
		err := once(ctx, link, h, func() { pause, told = firstPause, "" })
		if ctx.Err() != nil {
			return
		}
		if err != nil && err.Error() != told {
			told = err.Error()
			h.Logf("DHCP on %s: %v; trying again", link, err)
		}
		wait(ctx, pause)
		pause = min(2*pause, lastPause)
	}
}

// once gets one lease and holds it as long as it can be renewed.
func once(ctx context.Context, link string, h Hooks, got func()) error {
	c, err := nclient4.New(link, nclient4.WithTimeout(answerTime), nclient4.WithRetry(tries))
	if err != nil {
		return err
	}
	defer c.Close()
	raw, err := request(ctx, c)
	if err != nil {
		return err
	}
	lease, err := parse(raw.ACK)
	if err == nil {
		err = h.Got(lease)
	}
	if err != nil {
		return err
	}
	got()
	defer func() { h.Lost(lease) }()
	for {
		wait(ctx, lease.Renew)
		next, err := renew(ctx, c, raw, lease)
		if err != nil {
			return err
		}
		raw = next
		if lease, err = hold(h, lease, raw.ACK); err != nil {
			return err
		}
	}
}

func request(ctx context.Context, c *nclient4.Client) (*nclient4.Lease, error) {
	lease, err := c.Request(ctx, dhcpv4.WithRequestedOptions(dhcpv4.OptionClasslessStaticRoute, dhcpv4.OptionInterfaceMTU,
		dhcpv4.OptionDNSDomainSearchList, dhcpv4.OptionDomainNameServer, dhcpv4.OptionDomainName, dhcpv4.OptionRouter))
	if errors.Is(err, nclient4.ErrNoResponse) {
		return nil, errors.New("no server answers")
	}
	return lease, err
}

// renew asks for more time until the lease is over.
func renew(ctx context.Context, c *nclient4.Client, raw *nclient4.Lease, lease *Lease) (*nclient4.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, lease.Length-lease.Renew)
	defer cancel()
	for {
		next, err := c.Renew(ctx, raw)
		var nak *nclient4.ErrNak
		switch {
		case err == nil:
			return next, nil
		case errors.As(err, &nak):
			return nil, fmt.Errorf("the server takes %v back", lease.Address.Addr())
		case ctx.Err() != nil:
			return nil, fmt.Errorf("the lease of %v was not renewed: %w", lease.Address.Addr(), context.Cause(ctx))
		}
		wait(ctx, firstPause)
	}
}

// hold carries a renewed lease out when it differs from the one before.
func hold(h Hooks, old *Lease, ack *dhcpv4.DHCPv4) (*Lease, error) {
	lease, err := parse(ack)
	if err != nil || fmt.Sprint(*lease) == fmt.Sprint(*old) {
		return old, err
	}
	h.Lost(old)
	return lease, h.Got(lease)
}

// parse takes a lease out of an acknowledgement, which a stranger wrote.
func parse(ack *dhcpv4.DHCPv4) (*Lease, error) {
	addr, ok := netip.AddrFromSlice(ack.YourIPAddr.To4())
	ones, bits := ack.SubnetMask().Size()
	switch {
	case !ok || addr.IsUnspecified() || addr.IsMulticast() || addr.IsLoopback():
		return nil, fmt.Errorf("the server gives %v, which is no address of a host", ack.YourIPAddr)
	case bits != 32:
		ones = classful(addr)
	}
	l := &Lease{Address: netip.PrefixFrom(addr, ones), Length: ack.IPAddressLeaseTime(time.Hour), Routes: routes(ack)}
	l.Length = max(l.Length, shortest)
	if l.Renew = ack.IPAddressRenewalTime(l.Length / 2); l.Renew < shortest/2 || l.Renew >= l.Length {
		l.Renew = l.Length / 2
	}
	l.Server, _ = netip.AddrFromSlice(ack.ServerIdentifier().To4()) // for the log only
	for _, ip := range ack.DNS() {
		l.DNS = append(l.DNS, ip.String())
	}
	l.Search = domains(ack)
	if b := ack.Options.Get(dhcpv4.OptionInterfaceMTU); len(b) == 2 && binary.BigEndian.Uint16(b) >= 576 { // RFC 2132 section 5.1 says 68, which no IPv6 survives
		l.MTU = int(binary.BigEndian.Uint16(b))
	}
	return l, nil
}

// classful is the mask of an address when the server gives none (RFC 2132 section 3.3 leaves it to the client).
func classful(a netip.Addr) int {
	switch b := a.As4()[0]; {
	case b < 128:
		return 8
	case b < 192:
		return 16
	}
	return 24
}

// routes prefers the classless ones, as RFC 3442 demands.
func routes(ack *dhcpv4.DHCPv4) []Route {
	var out []Route
	add := func(to *net.IPNet, via net.IP) {
		ones, _ := to.Mask.Size()
		dst, ok := netip.AddrFromSlice(to.IP.To4())
		gw, ok2 := netip.AddrFromSlice(via.To4())
		if ok && ok2 {
			out = append(out, Route{netip.PrefixFrom(dst, ones).Masked(), gw})
		}
	}
	for _, r := range ack.ClasslessStaticRoute() {
		add(r.Dest, r.Router)
	}
	if len(out) == 0 && len(ack.Router()) > 0 {
		add(&net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, ack.Router()[0])
	}
	return out
}

// domains are those to search, only such as resolv.conf can hold: a server must not write other lines there.
func domains(ack *dhcpv4.DHCPv4) []string {
	words := []string{ack.DomainName()}
	if l := ack.DomainSearch(); l != nil && len(l.Labels) > 0 {
		words = l.Labels
	}
	var out []string
	for _, w := range words {
		if plain(w) {
			out = append(out, w)
		}
	}
	return out
}

func plain(w string) bool {
	for _, c := range w {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return w != "" && len(w) <= 255
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
