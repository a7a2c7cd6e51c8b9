// Package hostip is a port of a vale.Switch that needs no privilege: a host with an IP stack of its own inside this process
// (gVisor's), from which connections into the switch are made and on which they are accepted. Where a tap may be made that
// is faster, and is a link like others; see package tap.
//
// Subset: IPv4 and IPv6 with fixed addresses on one link, ARP and neighbour discovery, TCP, UDP, ping.
package hostip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"picolab/hostctl/vale"
)

const (
	nic       = 1
	queue     = 1024 // packets between the stack and the switch
	pipeBytes = 1 << 20
)

// Options describe a host.
type Options struct {
	MAC   net.HardwareAddr // 6 bytes
	Addrs []netip.Prefix   // IPv4 and IPv6
	MTU   int              // 0 means 1500
}

// Host is an IP host. Close ends it, after its port was detached or instead of attaching it.
type Host struct {
	stack  *stack.Stack
	link   *channel.Endpoint
	pipe   *vale.Pipe
	ctx    context.Context // ends with the port
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// New returns a host.
func New(o Options) (*Host, error) {
	if len(o.MAC) != header.EthernetAddressSize {
		return nil, fmt.Errorf("make host: address %v is not one of Ethernet", o.MAC)
	}
	if o.MTU == 0 {
		o.MTU = 1500
	}
	h := &Host{
		stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{arp.NewProtocol, ipv4.NewProtocol, ipv6.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
		}),
		link: channel.New(queue, uint32(o.MTU+header.EthernetMinimumSize), tcpip.LinkAddress(o.MAC)),
		pipe: vale.NewPipe(pipeBytes, 0),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	if err := h.configure(o); err != nil {
		return nil, errors.Join(fmt.Errorf("make host: %w", err), h.Close())
	}
	return h, nil
}

func (h *Host) configure(o Options) error {
	if err := h.stack.CreateNIC(nic, ethernet.New(h.link)); err != nil {
		return errors.New(err.String())
	}
	for _, p := range o.Addrs {
		address := tcpip.ProtocolAddress{Protocol: protocol(p.Addr()), AddressWithPrefix: tcpip.AddressWithPrefix{
			Address: tcpip.AddrFromSlice(p.Addr().AsSlice()), PrefixLen: p.Bits()}}
		if err := h.stack.AddProtocolAddress(nic, address, stack.AddressProperties{}); err != nil {
			return fmt.Errorf("add address %v: %s", p, err)
		}
		subnet := address.AddressWithPrefix.Subnet()
		h.stack.AddRoute(tcpip.Route{Destination: subnet, NIC: nic})
	}
	return nil
}

func protocol(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

// Close ends all connections.
func (h *Host) Close() error {
	h.cancel()
	h.work.Wait()
	h.stack.Destroy()
	h.link.Close()
	return nil
}

// Port returns the host's port.
func (h *Host) Port() vale.Port { return port{h.pipe.Port(), h} }

type port struct {
	vale.Port
	host *Host
}

func (p port) Start(w vale.Waker) error {
	if err := p.Port.Start(w); err != nil {
		return err
	}
	p.host.work.Go(p.host.out)
	p.host.work.Go(p.host.in)
	return nil
}

func (p port) Close() error {
	p.host.cancel()
	p.host.work.Wait()
	return p.Port.Close()
}

// out carries packets from the stack to the switch until the port is closed. What the switch has no room for is lost, as on
// any link.
func (h *Host) out() {
	for {
		pkt := h.link.ReadContext(h.ctx)
		if pkt == nil {
			return
		}
		view := pkt.ToView()
		h.pipe.Write([]vale.Frame{{Data: view.AsSlice()}})
		view.Release()
		pkt.DecRef()
	}
}

// in carries frames from the switch to the stack until the port is closed.
func (h *Host) in() {
	frames := make([]vale.Frame, vale.MaxBatch)
	for h.pipe.Wait(h.ctx) == nil {
		for _, f := range frames[:h.pipe.Read(frames)] {
			pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(f.Data)}) // copies
			h.link.InjectInbound(0, pkt)
			pkt.DecRef()
		}
	}
}
