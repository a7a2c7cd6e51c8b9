// Package lab boots a described set of guests and links, and takes every trace of them away again.
//
// A lab is data (Spec) turned into effects (Lab) by Up, which must run inside a hostctl sandbox: it makes bridges,
// taps and switches of our own in the network namespace it finds itself in, starts QEMU from the file system it finds itself in, and never looks
// further. What Up made, Down takes away; when the process dies first, the sandbox does.
//
// One agent protocol serves every endpoint. Guests are reached over vsock (the kernel's vhost-vsock where /dev/vhost-vsock
// works, else our vhost-user-vsock device in this process); the lab's own side is a guestagent child on a socketpair.
// A guest is up when its agent answered Hello with the boot token of this very start, never earlier.
//
// Limits: 32 guests, 16 links, 8 NICs per guest; x86-64; direct kernel boot only.
package lab
