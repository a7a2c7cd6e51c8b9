package netdev

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// find looks a link up; its errors name the link already.
func find(name string) (netlink.Link, error) {
	l, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil, fmt.Errorf("find link %s: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("find link %s: %w", name, err)
	}
	return l, nil
}

// change applies one netlink operation to a link.
func change(verb, name string, op func(netlink.Link) error) error {
	l, err := find(name)
	if err != nil {
		return err
	}
	if err := op(l); err != nil {
		return fmt.Errorf("%s link %s: %w", verb, name, err)
	}
	return nil
}

// CreateVeth makes a pair of connected Ethernet links, both down.
func CreateVeth(name, peer string) error {
	if err := checkName(name, peer); err != nil {
		return err
	}
	a := netlink.NewLinkAttrs()
	a.Name = name
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: a, PeerName: peer}); err != nil {
		return fmt.Errorf("create veth %s: %w", name, err)
	}
	return nil
}

// Delete removes a link. A bridge's ports stay; a veth's peer goes with it.
func Delete(name string) error { return change("delete", name, netlink.LinkDel) }

// Exists says whether a link of this name is in the namespace.
func Exists(name string) bool {
	_, err := find(name)
	return err == nil
}

// Up brings a link administratively up.
func Up(name string) error { return change("bring up", name, netlink.LinkSetUp) }

// Down brings a link administratively down.
func Down(name string) error { return change("bring down", name, netlink.LinkSetDown) }

// SetMTU sets the MTU in bytes. A bridge whose MTU was never set follows the smallest of its ports; setting it ends that.
func SetMTU(name string, mtu int) error {
	return change(fmt.Sprintf("set mtu %d of", mtu), name, func(l netlink.Link) error { return netlink.LinkSetMTU(l, mtu) })
}

// SetMAC sets the hardware address.
func SetMAC(name string, mac net.HardwareAddr) error {
	return change("set address of", name, func(l netlink.Link) error { return netlink.LinkSetHardwareAddr(l, mac) })
}

// Rename gives a link another name; it must be down.
func Rename(name, to string) error {
	if err := checkName(to); err != nil {
		return err
	}
	return change("rename to "+to, name, func(l netlink.Link) error { return netlink.LinkSetName(l, to) })
}

// Move puts a link into the network namespace of a process, where it is down and without addresses.
func Move(name string, pid int) error {
	return change(fmt.Sprintf("move to namespace of process %d", pid), name, func(l netlink.Link) error { return netlink.LinkSetNsPid(l, pid) })
}

// SetAlias sets the text that says what the link is for, at most 255 bytes.
func SetAlias(name, alias string) error {
	return change("set alias of", name, func(l netlink.Link) error { return netlink.LinkSetAlias(l, alias) })
}

// SetMaster makes a link a port of a bridge; an empty master takes it out of its bridge.
func SetMaster(name, master string) error {
	if master == "" {
		return change("take out", name, netlink.LinkSetNoMaster)
	}
	m, err := find(master)
	if err != nil {
		return err
	}
	return change("add to "+master, name, func(l netlink.Link) error { return netlink.LinkSetMaster(l, m) })
}

// SetPromisc turns promiscuous mode on or off. The kernel counts users, and this is one of them.
func SetPromisc(name string, on bool) error {
	return change("set promiscuous mode of", name, func(l netlink.Link) error {
		if on {
			return netlink.SetPromiscOn(l)
		}
		return netlink.SetPromiscOff(l)
	})
}

// AddAddr adds an address with its prefix length.
func AddAddr(name string, p netip.Prefix) error {
	return change("add address "+p.String()+" to", name, func(l netlink.Link) error {
		a := address(p)
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD // usable at once; nobody else lives in here
		}
		return netlink.AddrAdd(l, a)
	})
}

// DelAddr removes an address.
func DelAddr(name string, p netip.Prefix) error {
	return change("delete address "+p.String()+" of", name, func(l netlink.Link) error {
		return netlink.AddrDel(l, address(p))
	})
}

func address(p netip.Prefix) *netlink.Addr { return &netlink.Addr{IPNet: ipNet(p)} }

// ipNet keeps the host bits, unlike net.ParseCIDR's second result.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// AddNeigh makes or replaces a permanent neighbour entry (a static ARP entry, for IPv4).
func AddNeigh(name string, ip netip.Addr, mac net.HardwareAddr) error {
	return change("add neighbour "+ip.String()+" to", name, func(l netlink.Link) error {
		n := neigh(l, ip)
		n.HardwareAddr = mac
		return netlink.NeighSet(n)
	})
}

// DelNeigh removes a neighbour entry.
func DelNeigh(name string, ip netip.Addr) error {
	return change("delete neighbour "+ip.String()+" of", name, func(l netlink.Link) error {
		return netlink.NeighDel(neigh(l, ip))
	})
}

func neigh(l netlink.Link, ip netip.Addr) *netlink.Neigh {
	family := unix.AF_INET
	if ip.Is6() {
		family = unix.AF_INET6
	}
	return &netlink.Neigh{LinkIndex: l.Attrs().Index, Family: family, State: netlink.NUD_PERMANENT, IP: ip.AsSlice()}
}

func checkName(names ...string) error {
	for _, n := range names {
		if n == "" || len(n) > MaxName {
			return fmt.Errorf("link name %q is not of 1 to %d bytes", n, MaxName)
		}
	}
	return nil
}
