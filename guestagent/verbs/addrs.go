package verbs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"picolab/guestagent/wire"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// AddAddr implements wire.AgentService.
func (v *Verbs) AddAddr(_ context.Context, req *wire.AddrRequest) (*wire.Empty, error) {
	l, a, err := linkAddr(req)
	if err != nil {
		return nil, err
	}
	if err := netlink.AddrAdd(l, a); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("add address %s to %s: %w", req.Prefix, req.Link, err)
	}
	return &wire.Empty{}, nil
}

// DelAddr implements wire.AgentService.
func (v *Verbs) DelAddr(_ context.Context, req *wire.AddrRequest) (*wire.Empty, error) {
	l, a, err := linkAddr(req)
	if err != nil {
		return nil, err
	}
	if err := netlink.AddrDel(l, a); err != nil {
		return nil, fmt.Errorf("delete address %s of %s: %w", req.Prefix, req.Link, err)
	}
	return &wire.Empty{}, nil
}

func linkAddr(req *wire.AddrRequest) (netlink.Link, *netlink.Addr, error) {
	p, err := netip.ParsePrefix(req.Prefix)
	if err != nil {
		return nil, nil, wire.Errorf(wire.Code_INVALID, "%w", err)
	}
	l, err := byName(req.Link)
	if err != nil {
		return nil, nil, err
	}
	a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD // usable at once
	}
	return l, a, nil
}

// AddRoute implements wire.AgentService.
func (v *Verbs) AddRoute(_ context.Context, req *wire.RouteRequest) (*wire.Empty, error) {
	r, err := route(req)
	if err != nil {
		return nil, err
	}
	if err := netlink.RouteReplace(r); err != nil {
		return nil, fmt.Errorf("add route %q: %w", req.Destination, err)
	}
	return &wire.Empty{}, nil
}

// DelRoute implements wire.AgentService.
func (v *Verbs) DelRoute(_ context.Context, req *wire.RouteRequest) (*wire.Empty, error) {
	r, err := route(req)
	if err != nil {
		return nil, err
	}
	if err := netlink.RouteDel(r); err != nil {
		return nil, fmt.Errorf("delete route %q: %w", req.Destination, err)
	}
	return &wire.Empty{}, nil
}

func route(req *wire.RouteRequest) (*netlink.Route, error) {
	r := &netlink.Route{MTU: int(req.Mtu)}
	if req.Destination != "" {
		p, err := netip.ParsePrefix(req.Destination)
		if err != nil {
			return nil, wire.Errorf(wire.Code_INVALID, "%w", err)
		}
		p = p.Masked()
		r.Dst = &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
	}
	if req.Gateway != "" {
		gw, err := netip.ParseAddr(req.Gateway)
		if err != nil {
			return nil, wire.Errorf(wire.Code_INVALID, "%w", err)
		}
		r.Gw = gw.AsSlice()
	} else {
		r.Scope = netlink.SCOPE_LINK
	}
	if req.Link != "" {
		l, err := byName(req.Link)
		if err != nil {
			return nil, err
		}
		r.LinkIndex = l.Attrs().Index
	}
	return r, nil
}

// AddNeigh implements wire.AgentService.
func (v *Verbs) AddNeigh(_ context.Context, req *wire.NeighRequest) (*wire.Empty, error) {
	n, err := neigh(req)
	if err == nil && n.HardwareAddr == nil {
		err = wire.Errorf(wire.Code_INVALID, "add neighbour %s: no link-layer address", req.Address)
	}
	if err != nil {
		return nil, err
	}
	if err := netlink.NeighSet(n); err != nil {
		return nil, fmt.Errorf("add neighbour %s: %w", cmp.Or(req.Address, req.Mac), err)
	}
	return &wire.Empty{}, nil
}

// DelNeigh implements wire.AgentService.
func (v *Verbs) DelNeigh(_ context.Context, req *wire.NeighRequest) (*wire.Empty, error) {
	n, err := neigh(req)
	if err != nil {
		return nil, err
	}
	if err := netlink.NeighDel(n); err != nil {
		return nil, fmt.Errorf("delete neighbour %s: %w", cmp.Or(req.Address, req.Mac), err)
	}
	return &wire.Empty{}, nil
}

// neigh is the entry of a request: of the neighbour table, or without an IP address of what the device itself receives, as
// `bridge fdb add MAC dev LINK self` has it (ndo_dflt_fdb_add in net/core/rtnetlink.c).
func neigh(req *wire.NeighRequest) (*netlink.Neigh, error) {
	l, err := byName(req.Link)
	if err != nil {
		return nil, err
	}
	n := &netlink.Neigh{LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT}
	if req.Mac != "" {
		if n.HardwareAddr, err = net.ParseMAC(req.Mac); err != nil {
			return nil, wire.Errorf(wire.Code_INVALID, "%w", err)
		}
	}
	if req.Address == "" {
		n.Family, n.Flags = unix.AF_BRIDGE, netlink.NTF_SELF
		return n, nil
	}
	ip, err := netip.ParseAddr(req.Address)
	if err != nil {
		return nil, wire.Errorf(wire.Code_INVALID, "%w", err)
	}
	n.IP = ip.AsSlice()
	return n, nil
}
