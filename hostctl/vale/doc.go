// Package vale is a learning Ethernet switch in user space, after VALE: ports are added and removed while it runs, a frame
// to a known address goes to one port, any other to all of them, a port that takes nothing loses frames, and nobody waits.
//
// A Set holds switches by name and follows the names and rules of VALE: "vale0:1" is port 1 of switch vale0, which exists
// while it has ports. A Switch has up to MaxPorts of them. It works all its ports in one goroutine on a thread of its own,
// in batches and in two passes: first the addresses of all frames that arrived are looked up and each port's share is
// listed, then each port is given its share in one call. Frames are not copied: a port lends the memory it received into,
// and the receiving port copies from there, so there is one copy between two ports. What a Port is, and what it may expect,
// is told there; vale itself knows no kind of port but Pipe.
//
// Frames carry the header of virtio-net (Header), so that ports which speak it can leave checksums and segmentation to
// each other. For a port that does not take a header (Port.Offloads) the switch completes the checksum, or cuts the frame
// into segments (TCP over IPv4 and IPv6, UDP).
//
// Limits: frames of 14 to MaxFrame bytes, without check sequence. VLAN tags are carried, and play no part: addresses are
// learned across VLANs, as in VALE. Multicast goes to all ports. The table has room for 65,536 addresses and more; they
// age: one that was not a source for four to five minutes is forgotten. A port that floods the table with source addresses does
// not drive out those of others. There is no spanning tree.
//
// Sources: vale(4); L. Rizzo and G. Lettieri, VALE, a Switched Ethernet for Virtual Machines, CoNEXT 2012.
package vale
