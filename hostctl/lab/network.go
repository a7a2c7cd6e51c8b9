package lab

import (
	"fmt"
	"net/netip"

	"picolab/hostctl/vale"
)

// A Network is one link of a running lab: a bridge or a switch, with the host's address on a netdev.
type Network struct {
	spec   Link
	index  int
	bridge string       // netdev of the host's side
	sw     *vale.Switch // nil of a bridge
	taps   fanout       // who is shown what passes the switch
	order  []string     // "guest/index" of every NIC on the link, in the spec's order; gives the address plan
}

// Name is the link's name in the spec.
func (n *Network) Name() string { return n.spec.Name }

// Bridge is the netdev of the lab's own side; it carries Host. That of a bridge sees every frame, that of a switch those of
// the host only: StartCapture and Record see all of either.
func (n *Network) Bridge() string { return n.bridge }

// Host is the host's address on the link; invalid when the spec gives none.
func (n *Network) Host() netip.Prefix { return n.spec.Host }

// Switch is the link's switch, nil when the link is a bridge. Its ports are "host" and PortName of the NICs.
func (n *Network) Switch() *vale.Switch { return n.sw }

// PortName is the name of a guest's i-th NIC on a switch.
func PortName(guest string, i int) string { return guest + "." + deviceID(i) }

// MTU is the host's MTU in bytes.
func (n *Network) MTU() int { return n.spec.MTU }

// guestAddr numbers the link's NICs from the host's address on: with 10.77.0.1/24 the first is 10.77.0.2/24.
func (n *Network) guestAddr(guest string, index int) netip.Prefix {
	if !n.spec.Host.IsValid() {
		return netip.Prefix{}
	}
	addr := n.spec.Host.Addr().Next()
	for _, key := range n.order {
		if key == nicKey(guest, index) {
			return netip.PrefixFrom(addr, n.spec.Host.Bits())
		}
		addr = addr.Next()
	}
	return netip.Prefix{}
}

// outsideAddr is the address behind those of all NICs.
func (n *Network) outsideAddr() netip.Prefix {
	if !n.spec.Host.IsValid() {
		return netip.Prefix{}
	}
	addr := n.spec.Host.Addr().Next()
	for range n.order {
		addr = addr.Next()
	}
	return netip.PrefixFrom(addr, n.spec.Host.Bits())
}

func nicKey(guest string, index int) string { return fmt.Sprintf("%s/%d", guest, index) }

// networks lays out the links of s without making anything.
func networks(s Spec) []*Network {
	var all []*Network
	for i, link := range s.Links {
		n := &Network{spec: link, index: i, bridge: fmt.Sprintf("br%d", i)}
		if s.switched(link.Name) {
			n.bridge = fmt.Sprintf("vale%d", i)
		}
		for _, g := range s.Guests {
			for j, nic := range g.NICs {
				if nic.Link == link.Name {
					n.order = append(n.order, nicKey(g.Name, j))
				}
			}
		}
		all = append(all, n)
	}
	return all
}

// deviceID is the name of a guest's i-th NIC in QMP.
func deviceID(i int) string { return fmt.Sprintf("nic%d", i) }

// tapName is the host's end of a guest's NIC.
func tapName(guest, nic int) string { return fmt.Sprintf("tap%dn%d", guest, nic) }
