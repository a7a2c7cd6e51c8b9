package verbs

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// SetRoute makes or replaces a route through a gateway of a link, beside those of other metrics: of the default routes of
// several links the one with the lowest metric is used, and another takes over when its link is gone. A gateway that no
// address of the link reaches is taken to be on the link (RFC 3442 leases). A valid source address goes into packets, and the route goes with it when it is taken off the link.
func SetRoute(link string, to netip.Prefix, gateway, source netip.Addr, metric int) error {
	l, err := byName(link)
	if err != nil {
		return err
	}
	r := &netlink.Route{
		LinkIndex: l.Attrs().Index, Priority: metric, Gw: gateway.AsSlice(), Flags: int(netlink.FLAG_ONLINK),
		Dst: &net.IPNet{IP: to.Addr().AsSlice(), Mask: net.CIDRMask(to.Bits(), to.Addr().BitLen())},
	}
	if gateway.IsUnspecified() { // RFC 3442: the destination itself is on the link
		r.Gw, r.Flags, r.Scope = nil, 0, netlink.SCOPE_LINK
	}
	if source.IsValid() {
		r.Src = source.AsSlice()
	}
	if err := netlink.RouteReplace(r); err != nil {
		return fmt.Errorf("route %s via %s on %s: %w", to, gateway, link, err)
	}
	return nil
}
