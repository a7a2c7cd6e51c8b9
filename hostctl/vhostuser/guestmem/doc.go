// Package guestmem maps the memory that a vhost-user front-end shares, and gives bounds-checked access to it.
//
// A Memory holds the current Table of regions. Readers take the table with Acquire and give it back with Release;
// changes (Replace, Add, Remove) publish a new table and never disturb one that is in use. A mapping is unmapped
// exactly once, when the last table that contains it is released.
//
// Nothing in this memory can be trusted to stay as it was read: every byte belongs to the guest. Read a value once into
// a local, check the local, use the local. (The Go memory model forbids the compiler to let one read observe two values.)
//
// A front-end may also take pages away by shrinking the file behind them, which raises SIGBUS on the next access. Where
// the file can be sealed, F_SEAL_SHRINK is required; everywhere, access belongs inside Guard, which turns the signal
// into ErrFault for that caller only.
//
// Hosts must be little-endian, as the only guests supported are (virtio 1.x fields are little-endian).
//
// Sources: QEMU docs/interop/vhost-user.rst ("Memory region description"), memfd_create(2), fcntl(2).
package guestmem
