package verbs

import (
	"context"
	"errors"
	"fmt"
	"net"

	"picolab/guestagent/wire"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// SetLink implements wire.AgentService. The first change that fails ends it; those before it stay.
func (v *Verbs) SetLink(_ context.Context, req *wire.SetLinkRequest) (*wire.Empty, error) {
	l, err := byName(req.Link)
	if err != nil {
		return nil, err
	}
	for _, c := range linkChanges(req) {
		if !c.wanted {
			continue
		}
		if err := c.apply(l); err != nil {
			return nil, fmt.Errorf("set link %s: %s: %w", req.Link, c.what, err)
		}
	}
	return &wire.Empty{}, nil
}

type linkChange struct {
	what   string
	wanted bool
	apply  func(netlink.Link) error
}

// linkChanges lists what a request may ask for in an order that works: some devices take an address only while down, a
// name can be changed only then (before Linux 6.2), and up comes last.
func linkChanges(req *wire.SetLinkRequest) []linkChange {
	return []linkChange{
		{"down", req.Up != nil && !req.GetUp(), netlink.LinkSetDown},
		{"mac", req.Mac != nil, func(l netlink.Link) error { return setMAC(l, req.GetMac()) }},
		{"mtu", req.Mtu != nil, func(l netlink.Link) error { return netlink.LinkSetMTU(l, int(req.GetMtu())) }},
		{"tx queue length", req.TxQueueLength != nil, func(l netlink.Link) error {
			return netlink.LinkSetTxQLen(l, int(req.GetTxQueueLength()))
		}},
		{"rename", req.Rename != nil, func(l netlink.Link) error { return netlink.LinkSetName(l, req.GetRename()) }},
		{"master", req.Master != nil, func(l netlink.Link) error { return setMaster(l, req.GetMaster()) }},
		{"promisc", req.Promisc != nil, func(l netlink.Link) error {
			return onOff(l, req.GetPromisc(), netlink.SetPromiscOn, netlink.SetPromiscOff)
		}},
		{"allmulticast", req.Allmulticast != nil, func(l netlink.Link) error {
			return onOff(l, req.GetAllmulticast(), netlink.LinkSetAllmulticastOn, netlink.LinkSetAllmulticastOff)
		}},
		{"up", req.GetUp(), netlink.LinkSetUp},
	}
}

func onOff(l netlink.Link, on bool, set, reset func(netlink.Link) error) error {
	if on {
		return set(l)
	}
	return reset(l)
}

func setMAC(l netlink.Link, mac string) error {
	hw, err := net.ParseMAC(mac)
	if err != nil {
		return wire.Errorf(wire.Code_INVALID, "%w", err)
	}
	return netlink.LinkSetHardwareAddr(l, hw)
}

func setMaster(l netlink.Link, master string) error {
	if master == "" {
		return netlink.LinkSetNoMaster(l)
	}
	m, err := byName(master)
	if err != nil {
		return err
	}
	return netlink.LinkSetMaster(l, m)
}

// AddLink implements wire.AgentService.
func (v *Verbs) AddLink(_ context.Context, req *wire.AddLinkRequest) (*wire.Empty, error) {
	l, err := newLink(req)
	if err != nil {
		return nil, err
	}
	err = netlink.LinkAdd(l)
	if module, ok := kindModules[req.Kind]; ok && errors.Is(err, unix.EOPNOTSUPP) && v.env.Modules != nil {
		if lerr := v.env.Modules.Load(module); lerr != nil {
			return nil, wire.Errorf(wire.Code_UNSUPPORTED, "add %s link %s: %w", req.Kind, req.Name, lerr)
		}
		err = netlink.LinkAdd(l)
	}
	if err != nil {
		return nil, fmt.Errorf("add %s link %s: %w", req.Kind, req.Name, err)
	}
	return &wire.Empty{}, nil
}

// kindModules are the modules of link kinds: the kernel would ask a modprobe for them that a guest does not have.
var kindModules = map[string]string{"vlan": "8021q", "veth": "veth", "bridge": "bridge", "dummy": "dummy"}

func newLink(req *wire.AddLinkRequest) (netlink.Link, error) {
	a := netlink.NewLinkAttrs()
	a.Name = req.Name
	switch req.Kind {
	case "vlan":
		p, err := byName(req.Parent)
		if err != nil {
			return nil, err
		}
		a.ParentIndex = p.Attrs().Index
		return &netlink.Vlan{LinkAttrs: a, VlanId: int(req.VlanId), VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}, nil
	case "veth":
		return &netlink.Veth{LinkAttrs: a, PeerName: req.Peer}, nil
	case "bridge":
		return &netlink.Bridge{LinkAttrs: a}, nil
	case "dummy":
		return &netlink.Dummy{LinkAttrs: a}, nil
	}
	return nil, wire.Errorf(wire.Code_INVALID, "add link %s: kind %q", req.Name, req.Kind)
}

// DelLink implements wire.AgentService.
func (v *Verbs) DelLink(_ context.Context, req *wire.LinkRequest) (*wire.Empty, error) {
	l, err := byName(req.Link)
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkDel(l); err != nil {
		return nil, fmt.Errorf("delete link %s: %w", req.Link, err)
	}
	return &wire.Empty{}, nil
}
