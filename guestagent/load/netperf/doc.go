// Package netperf measures a network the way netperf 2.7 does, and talks to netperf and netserver 2.6 and 2.7 both ways.
//
// Client is the side of the netperf command, Server that of netserver. A test is set up over a control connection (TCP,
// port 12865) by messages of 656 bytes, see Message; its data goes over a connection or datagrams of its own.
//
// Tests: TCP_STREAM, TCP_MAERTS, UDP_STREAM, TCP_RR, UDP_RR, TCP_CRR, over IPv4 and IPv6, and "omni", which names the
// same by direction and protocol. Not here: SCTP, DCCP, UNIX and DLPI sockets, sendfile, fill files, buffer alignment,
// pacing by -b/-w, passphrases, and the message layout of netperf 2.5 and older (256 bytes).
//
// The data path uses blocking sockets and plain system calls: a round trip through the runtime's poller costs more than
// the round trip measured. Each data connection has one goroutine, which another may interrupt by shutdown(2).
package netperf
