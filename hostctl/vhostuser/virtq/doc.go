// Package virtq is the device side of virtqueues: it takes the driver's buffers out of a ring in shared memory and gives
// them back.
//
// A Queue is worked in batches: Pop buffers, fill or read them, Push each, then Flush once. Until Flush the driver sees
// nothing of it; Abort gives back whatever was popped and not pushed, as if it had never been taken. Nothing allocates
// once the caller's Chains have grown to the shape of the traffic.
//
// Subset: split and packed rings with INDIRECT_DESC, EVENT_IDX and IN_ORDER; sizes are powers of two in both layouts. The driver is
// not trusted: each descriptor is copied to a local once and then checked; a walk takes at most as many steps as the ring
// has entries; a driver that breaks the ring's rules breaks this queue for good (ErrBroken) and nothing else.
//
// PopBatch and PushBatch are the fast way: a buffer of one descriptor, in the region where the last one was, is taken without
// a walk, and a batch costs one look at the driver's index. Short buffers are cheaper the more of them there are at a time.
//
// A Queue is not safe for use by several goroutines at a time.
//
// Dirty page logging marks what Push says was written, once the buffer is pushed and before the driver can see it, and
// every write to the ring. What was written to a buffer that went back with Abort is not marked: until it is used, its
// content means nothing.
//
// A packed ring does not say where its device was: this package begins where Base says. For a device that crashed nobody knows
// the base, and the flags of the descriptors do not tell: a used chain leaves all its entries but the first as they were,
// which looks like buffers that are available. Hence Config.Place, in which the device notes how far it got. A split ring
// has its used index.
//
// Sources: virtio 1.2 sections 2.6 to 2.8; the CVEs named in the tests.
package virtq
