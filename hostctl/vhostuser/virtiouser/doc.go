// Package virtiouser is a virtio-net driver in user space, whose device is a vhost-user back-end: what a guest and QEMU are
// to package vhostuser, without either, like DPDK's virtio-user. It is for programs that send and receive frames beside the
// guests of a switch, and for judging back-ends.
//
// A Port has pairs of queues. Frames are sent and received in the memory that is shared with the device, without a copy:
// Pair.Reserve lends buffers to be filled, Pair.Receive what has come. The rings are polled; the device is told not to call,
// and is kicked only when it asks for it.
//
// Subset: split and packed rings, several pairs, MRG_RXBUF, one region of memory; no offloads, no EVENT_IDX, no INDIRECT, no
// control queue. Protocol features: MQ, REPLY_ACK, STATUS. Each buffer is one descriptor. A device that goes away is not
// waited for to come back: Pair.Err tells, and the port is to be closed.
//
// The device is not trusted with more than the contents of frames: its indices, ids and lengths are checked, and the memory
// is ours and cannot shrink.
//
// Sources: QEMU docs/interop/vhost-user.rst; virtio 1.2 sections 2.7, 2.8 and 5.1.
package virtiouser
