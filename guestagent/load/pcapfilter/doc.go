// Package pcapfilter compiles capture filters in the language of tcpdump(8), pcap-filter(7), to classic BPF programs for
// Ethernet frames.
//
// The subset, with the meaning that libpcap gives it:
//
//	[PROTO] [DIR] host ADDRESS | net NET[/LEN] | net NET mask MASK
//	[tcp|udp|sctp] [DIR] port N | portrange N-M
//	ether [DIR] [host] MAC | ether broadcast | ether multicast | broadcast | multicast
//	ip multicast | ip6 multicast
//	ether proto TYPE | [ip|ip6] proto N
//	ip ip6 arp rarp tcp udp sctp icmp icmp6 igmp ah esp pim vrrp
//	vlan [ID]   inbound   outbound   less N   greater N
//	WHERE[OFFSET[:SIZE]] [& MASK] RELATION VALUE    with RELATION one of = == != < <= > >=
//	len RELATION VALUE
//
// DIR is src, dst, "src or dst" or "src and dst"; PROTO is ip, ip6, arp or rarp; WHERE is ether, ip, ip6, tcp, udp, sctp, icmp
// or icmp6. Primitives are joined by and (&&), or (||), which bind equally and to the left, not (!), which binds closest,
// and parentheses; qualifiers hold for the identifiers that follow: "port 80 or 443", "host (10.0.0.1 or 10.0.0.2)".
// Values may be numbers, names of TCP flags and ICMP types (tcp-syn, icmp-echo), and these joined by "|".
//
// Not here: names of hosts, networks and services, ip broadcast, gateway, protochain, MPLS, PPPoE, 802.11, and arithmetic
// beyond one mask.
//
// As in libpcap, vlan moves what follows it behind the tag. Offline programs find tags in the frame. Live ones, for
// packet sockets, know that the kernel keeps the outer tag beside the frame (packet(7), PACKET_AUXDATA); where libpcap
// moves what follows even for frames without a tag, ours do not.
package pcapfilter
