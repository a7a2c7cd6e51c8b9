package verbs

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"

	"picolab/guestagent/wire"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Attributes of RTM_NEWLINK that package netlink does not know (linux/if_link.h).
const (
	attrMinMTU = 50
	attrMaxMTU = 51
	skipStats  = 1 << 3 // RTEXT_FILTER_SKIP_STATS: the counters are not asked for
)

// Links implements wire.AgentService.
func (v *Verbs) Links(context.Context, *wire.Empty) (*wire.LinkList, error) {
	msgs, err := dumpLinks()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	links, names := make([]*link, len(msgs)), make(map[int]string)
	for i, m := range msgs {
		if links[i], err = decodeLink(m); err != nil {
			return nil, err
		}
		names[links[i].attrs.Index] = links[i].attrs.Name
	}
	list := new(wire.LinkList)
	for _, l := range links {
		l.wire.Master = names[l.attrs.MasterIndex]
		if l.attrs.NetNsID < 0 { // else the parent is in another namespace, where numbers mean other links
			l.wire.Parent = names[l.attrs.ParentIndex]
		}
		list.Links = append(list.Links, l.wire)
	}
	if err := addAddresses(list); err != nil {
		return nil, err
	}
	slices.SortFunc(list.Links, func(a, b *wire.Link) int { return cmp.Compare(a.Index, b.Index) })
	return list, nil
}

// dumpLinks is RTM_GETLINK of all links (rtnetlink(7)).
func dumpLinks() ([][]byte, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStats)))
	return whole(func() ([][]byte, error) { return req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK) })
}

// whole asks for a dump again while the kernel says that links or addresses changed in its middle (NLM_F_DUMP_INTR,
// Documentation/userspace-api/netlink/intro.rst, Dump consistency).
func whole[T any](dump func() (T, error)) (list T, err error) {
	for range 20 {
		if list, err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return list, err
}

// link is a link in both shapes.
type link struct {
	wire  *wire.Link
	attrs *netlink.LinkAttrs
}

func decodeLink(m []byte) (*link, error) {
	d, err := netlink.LinkDeserialize(nil, m)
	if err != nil {
		return nil, fmt.Errorf("decode link: %w", err)
	}
	a := d.Attrs()
	w := &wire.Link{
		Name: a.Name, Index: int32(a.Index), Mac: a.HardwareAddr.String(), Mtu: int32(a.MTU), Up: a.Flags&net.FlagUp != 0,
		Operstate: a.OperState.String(), Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0, Promisc: a.Promisc > 0 || a.RawFlags&unix.IFF_PROMISC != 0,
		Kind: d.Type(), TxQueues: int32(a.NumTxQueues), RxQueues: int32(a.NumRxQueues),
	}
	if v, ok := d.(*netlink.Vlan); ok {
		w.VlanId = int32(v.VlanId)
	}
	if err := mtuRange(m, w); err != nil {
		return nil, err
	}
	if info, err := driverInfo(a.Name); err == nil { // software links need not have one
		w.Driver, w.BusAddress = info.Driver, info.Bus
	}
	return &link{wire: w, attrs: a}, nil
}

// mtuRange reads IFLA_MIN_MTU and IFLA_MAX_MTU (Linux 4.19).
func mtuRange(m []byte, w *wire.Link) error {
	attrs, err := nl.ParseRouteAttr(m[unix.SizeofIfInfomsg:])
	if err != nil {
		return fmt.Errorf("decode link %s: %w", w.Name, err)
	}
	for _, a := range attrs {
		if len(a.Value) < 4 {
			continue
		}
		switch a.Attr.Type {
		case attrMinMTU:
			w.MinMtu = int32(binary.NativeEndian.Uint32(a.Value))
		case attrMaxMTU:
			w.MaxMtu = int32(min(binary.NativeEndian.Uint32(a.Value), 1<<31-1))
		}
	}
	return nil
}

func addAddresses(list *wire.LinkList) error {
	addrs, err := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		i := slices.IndexFunc(list.Links, func(l *wire.Link) bool { return int(l.Index) == a.LinkIndex })
		if i >= 0 {
			list.Links[i].Addresses = append(list.Links[i].Addresses, a.IPNet.String())
		}
	}
	return nil
}

// byName finds a link; ENODEV (not found) when there is none.
func byName(name string) (netlink.Link, error) {
	l, err := netlink.LinkByName(name)
	if _, ok := err.(netlink.LinkNotFoundError); ok {
		return nil, wire.Errorf(wire.Code_NOT_FOUND, "link %s: %w", name, unix.ENODEV)
	}
	if err != nil {
		return nil, fmt.Errorf("link %s: %w", name, err)
	}
	return l, nil
}
