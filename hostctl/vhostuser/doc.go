// Package vhostuser is the back-end side of the vhost-user protocol: QEMU (the front-end) shares a guest's memory and
// its virtqueues over a unix socket, and a Device here works them.
//
// A Server owns the socket, as listener or as client, one front-end at a time, and survives its coming and going. The
// Device is told when a ring starts and stops; between the two it works the ring inside Ring.Do.
//
// Implemented: memory tables and memory slots, split and packed rings with INDIRECT, EVENT_IDX and IN_ORDER, MQ, LOG_SHMFD (dirty
// page logging), REPLY_ACK, CONFIG, RESET_DEVICE, STATUS, CONFIGURE_MEM_SLOTS, INFLIGHT_SHMFD, BACKEND_REQ (for
// CONFIG_CHANGE), and for network devices MTU and RARP. Not implemented, and not offered: post-copy, IOMMU, other endianness,
// notifications in-band.
//
// A packed ring resumes exactly where GET_VRING_BASE said. A front-end that lost its back-end without that message cannot
// know the place: it is in the inflight region, if the front-end keeps one, or in the file Options.Places.
//
// The front-end is not trusted. Sizes, indices and descriptor counts are checked before use; every file descriptor
// that arrives is owned by exactly one place or closed; O_NONBLOCK is never changed, since the front-end shares it.
//
// Source: QEMU docs/interop/vhost-user.rst.
package vhostuser
