package netboot

import (
	"net"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// leaseTime is longer than anything that boots, in seconds.
const leaseTime = 3600

// answerDHCP gives a known client its address. It has none yet, so the answer is broadcast.
func (s *Server) answerDHCP(data []byte, _ net.Addr) {
	req, err := dhcpv4.FromBytes(data)
	if err != nil || req.OpCode != dhcpv4.OpcodeBootRequest {
		return
	}
	s.notice("DHCP %v from %v", req.MessageType(), req.ClientHWAddr)
	reply, err := s.offer(req)
	if err != nil {
		s.notice("no answer: %v", err)
		return
	}
	if reply != nil {
		_, _ = s.dhcp.WriteTo(reply.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ClientPort}) // lost ones are asked for again
	}
}

// offer is the answer to a DISCOVER or a REQUEST, nil to others and to strangers.
func (s *Server) offer(req *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, error) {
	kind, ok := map[dhcpv4.MessageType]dhcpv4.MessageType{
		dhcpv4.MessageTypeDiscover: dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeRequest: dhcpv4.MessageTypeAck,
	}[req.MessageType()]
	lease, known := s.o.Leases[req.ClientHWAddr.String()]
	if !ok || !known {
		return nil, nil
	}
	server := s.o.Server.Addr().AsSlice()
	reply, err := dhcpv4.NewReplyFromRequest(req, dhcpv4.WithMessageType(kind), dhcpv4.WithBroadcast(true),
		dhcpv4.WithYourIP(lease.Addr().AsSlice()), dhcpv4.WithNetmask(net.CIDRMask(lease.Bits(), 32)), dhcpv4.WithLeaseTime(leaseTime),
		dhcpv4.WithServerIP(server), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(server)),
		dhcpv4.WithOption(dhcpv4.OptTFTPServerName(s.o.Server.Addr().String())), dhcpv4.WithOption(dhcpv4.OptBootFileName(s.o.File)))
	if err != nil {
		return nil, err
	}
	reply.BootFileName = s.o.File
	return reply, nil
}
