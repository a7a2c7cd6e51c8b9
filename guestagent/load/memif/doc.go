// Package memif is the shared memory packet interface of VPP and DPDK, version 2.0, in both roles: two programs exchange
// Ethernet frames by rings in memory that one of them, the client, shares over a unix socket.
//
// A Port is worked in batches, with Take and Put, from any goroutine; Serve keeps it connected. The server is the one with the
// socket. Per direction there are up to MaxQueues rings; a frame may take several buffers.
//
// The peer is not trusted. Each descriptor is read once and then checked; a walk takes at most as many steps as the ring has
// entries; memory that goes away, as only a client can have it do, ends the connection and nothing else. A server never leaves
// the client's memory.
//
// Subset: mode Ethernet; no zero copy on our side (a DPDK client may have it); one peer at a time.
//
// Sources: the memif protocol as in DPDK 24.11 (drivers/net/memif) and VPP.
package memif
