package netdev

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Get is the state of one link.
func Get(name string) (Link, error) {
	l, err := find(name)
	if err != nil {
		return Link{}, err
	}
	return state(l, nil)
}

// List is the state of every link in the namespace, by index.
func List() ([]Link, error) {
	links, err := whole(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	names := make(map[int]string, len(links))
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	var all []Link
	for _, l := range links {
		s, err := state(l, names)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// whole asks for a dump again while the kernel says that links or addresses changed in its middle (NLM_F_DUMP_INTR,
// Documentation/userspace-api/netlink/intro.rst, Dump consistency).
func whole[T any](dump func() ([]T, error)) (list []T, err error) {
	for range 20 {
		if list, err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return list, err
}

// state converts; names by index spare a request per master.
func state(l netlink.Link, names map[int]string) (Link, error) {
	a := l.Attrs()
	s := Link{
		Name: a.Name, Kind: l.Type(), OperState: a.OperState.String(), Index: a.Index, MTU: a.MTU, MAC: a.HardwareAddr,
		Alias: a.Alias, Up: a.Flags&net.FlagUp != 0, Promisc: a.Promisc > 0, Stats: stats(a.Statistics),
	}
	if a.MasterIndex > 0 {
		s.Master = masterName(a.MasterIndex, names)
	}
	addrs, err := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_ALL) })
	if err != nil {
		return Link{}, fmt.Errorf("list addresses of %s: %w", a.Name, err)
	}
	for _, addr := range addrs {
		if p, ok := prefix(addr.IPNet); ok {
			s.Addrs = append(s.Addrs, p)
		}
	}
	return s, nil
}

func masterName(index int, names map[int]string) string {
	if n, ok := names[index]; ok {
		return n
	}
	m, err := netlink.LinkByIndex(index)
	if err != nil {
		return fmt.Sprintf("#%d", index)
	}
	return m.Attrs().Name
}

func prefix(n *net.IPNet) (netip.Prefix, bool) {
	ip, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), bits), ok
}

func stats(s *netlink.LinkStatistics) Stats {
	if s == nil {
		return Stats{}
	}
	return Stats{
		RxPackets: s.RxPackets, RxBytes: s.RxBytes, RxDropped: s.RxDropped, RxErrors: s.RxErrors,
		TxPackets: s.TxPackets, TxBytes: s.TxBytes, TxDropped: s.TxDropped, TxErrors: s.TxErrors,
	}
}
