// Package pktgen generates, receives and times Ethernet frames the way netmap's pkt-gen does.
//
// Main is the command, Run the engine under it. The engine drives a Port, whose implementations are in the packages below
// this one; package ports joins them under the names people type. A port has queues, each of which one thread uses, and
// a queue hands out buffers in batches: nothing is allocated and no interface is called for a single frame but to fill it.
//
// The functions are those of the original (pkt-gen(8), apps/pkt-gen/pkt-gen.c of netmap): tx, rx, ping, pong, txseq and
// rxseq, with its frame (UDP over IPv4 or IPv6, sequence number and time in the first bytes of the payload), its way of
// walking through address ranges, and its output. Different from it: UDP checksums hold for every frame sent; txseq adds a
// hash that rxseq checks; -n holds for txseq; -P replays all packets of a file; and the socket of a plain interface is
// AF_XDP's or AF_PACKET's, netmap's only with the prefix "netmap:".
package pktgen
