package hostip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// address returns what the stack calls an address.
func address(a netip.AddrPort) tcpip.FullAddress {
	full := tcpip.FullAddress{NIC: nic, Port: a.Port()}
	if a.Addr().IsValid() && !a.Addr().IsUnspecified() {
		full.Addr = tcpip.AddrFromSlice(a.Addr().AsSlice())
	}
	return full
}

// DialContext connects from the host, as net.Dialer does; network is tcp or udp, address an IP address and a port.
func (h *Host) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s %s: %w", network, addr, err)
	}
	full := address(to)
	switch network {
	case "tcp", "tcp4", "tcp6":
		return gonet.DialContextTCP(ctx, h.stack, full, protocol(to.Addr()))
	case "udp", "udp4", "udp6":
		return gonet.DialUDP(h.stack, nil, &full, protocol(to.Addr()))
	}
	return nil, fmt.Errorf("dial %s %s: unknown network", network, addr)
}

// Listen accepts TCP connections to the host on an address of its own, or on all of them.
func (h *Host) Listen(addr netip.AddrPort) (net.Listener, error) {
	return gonet.ListenTCP(h.stack, address(addr), protocol(addr.Addr()))
}

// ListenPacket receives UDP packets to the host.
func (h *Host) ListenPacket(addr netip.AddrPort) (net.PacketConn, error) {
	full := address(addr)
	return gonet.DialUDP(h.stack, &full, nil, protocol(addr.Addr()))
}

// Ping sends one echo request with size bytes of data and returns how long the answer took.
func (h *Host) Ping(ctx context.Context, to netip.Addr, size int) (time.Duration, error) {
	took, err := h.ping(ctx, to, size)
	if err != nil {
		return 0, fmt.Errorf("ping %v: %w", to, err)
	}
	return took, nil
}

func (h *Host) ping(ctx context.Context, to netip.Addr, size int) (time.Duration, error) {
	var wq waiter.Queue
	transport, request := icmp.ProtocolNumber4, make([]byte, header.ICMPv4MinimumSize+size)
	request[0] = byte(header.ICMPv4Echo)
	if !to.Is4() {
		transport, request[0] = icmp.ProtocolNumber6, byte(header.ICMPv6EchoRequest)
	}
	ep, terr := h.stack.NewEndpoint(transport, protocol(to), &wq)
	if terr != nil {
		return 0, errors.New(terr.String())
	}
	defer ep.Close()
	full := address(netip.AddrPortFrom(to, 0))
	if terr := ep.Connect(full); terr != nil {
		return 0, errors.New(terr.String())
	}
	readable, events := waiter.NewChannelEntry(waiter.ReadableEvents)
	wq.EventRegister(&readable)
	defer wq.EventUnregister(&readable)
	begin := time.Now()
	if err := echo(ctx, ep, request, events); err != nil {
		return 0, err
	}
	return time.Since(begin), nil
}

// resend is how long a request may be under way before it is sent again: the first waits for the neighbour's address.
const resend = time.Second

// echo sends the request until there is an answer.
func echo(ctx context.Context, ep tcpip.Endpoint, request []byte, events chan struct{}) error {
	for {
		if _, terr := ep.Write(bytes.NewReader(request), tcpip.WriteOptions{}); terr != nil {
			if _, wait := terr.(*tcpip.ErrWouldBlock); !wait {
				return errors.New(terr.String())
			}
		}
		select {
		case <-events:
			var answer bytes.Buffer
			if _, terr := ep.Read(&answer, tcpip.ReadOptions{}); terr == nil {
				return nil
			}
		case <-time.After(resend):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
