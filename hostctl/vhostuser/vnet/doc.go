// Package vnet is the virtio-net device of a vhost-user back-end, as a port of a switch: frames in batches, from the guest
// with Take and to the guest with Put, for each pair of queues.
//
// The header that virtio-net puts before each frame is passed through, so that two guests can leave checksums and
// segmentation to each other. What a guest says in it is checked against the frame and against what was negotiated before
// anybody else sees it (CVE-2024-11614); it may lie across descriptors in any way (CVE-2022-2132). What the guest at the
// other end has not accepted cannot be Put: see Accepts.
//
// Subset: checksums, TCP and UDP segmentation, merged receive buffers, several queue pairs, split and packed rings.
// Control queue, MAC filter and link status are the front-end's, as in QEMU, and so is the MTU, which it tells. Where a guest
// has migrated here and does not announce itself, Take returns a RARP frame on its behalf. There is no RSS, no hash report, and
// no UDP fragmentation (UFO).
//
// Take copies frames into memory of the caller's. Borrow lends them where they are, for as long as it takes to put them to
// another port, if the guest's memory is sealed and so cannot be taken away meanwhile.
//
// A port that is polled costs the guest no kicks, see Take and Put; before its owner sleeps it calls Arm.
//
// Source: virtio 1.2 section 5.1.
package vnet
