package catalogue

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/wire"
	"picolab/hostctl/lab"
)

// prepare takes a booted lab's network cards up and gives them their addresses,
// and waits until each has answered once: an auto-negotiation that is not over
// would count as loss.  A card that never answers is left to the case, which
// will tell more about it.
func prepare(ctx context.Context, b Booted) error {
	for _, m := range b.Machines() {
		if m.Bare() {
			continue
		}
		// What a flood leaves in pieces would for 30 s take the room for the next instance's fragments (Linux, net/ipv4/inet_fragment.c).
		if err := m.Agent().Sysctl(ctx, "net.ipv4.ipfrag_time", "1"); err != nil {
			return fmt.Errorf("guest %s: %w", m.Name(), err)
		}
		for _, c := range m.Cards() {
			if err := prepareCard(ctx, b, m, c); err != nil {
				return fmt.Errorf("guest %s: %s: %w", m.Name(), c.Model, err)
			}
		}
	}
	return nil
}

func prepareCard(ctx context.Context, b Booted, m Machine, c Card) error {
	l, err := m.Agent().LinkByMAC(ctx, c.MAC, b.Timeout(lab.WaitDriver))
	if err != nil {
		return err
	}
	up := true
	if err := m.Agent().SetLink(ctx, l.Name, client.LinkChange{Up: &up}); err != nil {
		return err
	}
	if !c.Addr.IsValid() {
		return nil
	}
	if err := m.Agent().AddAddr(ctx, l.Name, c.Addr); err != nil {
		return err
	}
	return answer(ctx, b, c.Addr.Addr())
}

// answer pings an address until it replies or the table's time for a link is
// over.
func answer(ctx context.Context, b Booted, addr netip.Addr) error {
	deadline := time.Now().Add(b.Timeout(lab.WaitLink))
	for time.Now().Before(deadline) {
		stats, err := b.Host().PingHost(ctx, client.PingOptions{Target: addr, Count: 1, Interval: time.Millisecond,
			Timeout: b.Timeout(lab.WaitPing) / 10})
		if err != nil || stats.Received > 0 {
			return err
		}
	}
	return nil
}

// snapshot is the state of a lab that an instance must leave as it found it.
type snapshot struct {
	links map[string]string // "a eth0" to what can be set of it
	up    map[string]bool   // which of them had operstate up: a carrier that is back lets packets out only then
	dmesg map[string]string // the last line of each guest's kernel log that was looked at
}

func look(ctx context.Context, b Booted) (snapshot, error) {
	s := snapshot{links: map[string]string{}, up: map[string]bool{}, dmesg: map[string]string{}}
	if err := s.add(ctx, "host", b.Host()); err != nil {
		return s, err
	}
	for _, m := range b.Machines() {
		if m.Bare() {
			continue
		}
		if m.Agent() == nil {
			return s, fmt.Errorf("guest %s is not up", m.Name())
		}
		if err := s.add(ctx, m.Name(), m.Agent()); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *snapshot) add(ctx context.Context, name string, a Agent) error {
	links, err := a.Links(ctx)
	if err != nil {
		return fmt.Errorf("links of %s: %w", name, err)
	}
	for _, l := range links {
		s.links[name+" "+l.Name] = describe(l)
		s.up[name+" "+l.Name] = l.Operstate == "up"
	}
	return nil
}

// describe is what can be set of a link.  IPv6 addresses come and go by
// themselves, and so does promiscuity under a capture.
func describe(l *wire.Link) string {
	addrs := slices.DeleteFunc(slices.Clone(l.Addresses), func(a string) bool { return strings.Contains(a, ":") })
	return fmt.Sprintf("%s mtu %d up %t carrier %t master %q addresses %v", l.Mac, l.Mtu, l.Up, l.Carrier, l.Master, addrs)
}

// diff says how now differs from s, or "".
func (s snapshot) diff(now snapshot) string {
	for _, name := range sortedKeys(s.links) {
		got, ok := now.links[name]
		if !ok {
			return name + " is gone"
		}
		if got != s.links[name] {
			return fmt.Sprintf("%s was %s, is %s", name, s.links[name], got)
		}
		if s.up[name] && !now.up[name] {
			return name + " passes no packets yet"
		}
	}
	for _, name := range sortedKeys(now.links) {
		if _, ok := s.links[name]; !ok {
			return name + " is new"
		}
	}
	return ""
}
