// Package vvsock is a virtio-vsock device as a vhost-user back-end: it gives a guest AF_VSOCK stream sockets on hosts
// that have no /dev/vhost-vsock.
//
// One Device serves one guest. The guest is reached in two ways: Device.Dial, and a unix socket with the "CONNECT port"
// convention shared by Firecracker, Cloud Hypervisor and vhost-device-vsock (a client sends "CONNECT 1024\n", reads
// "OK 1073741824\n", and has a raw stream from there). A guest that connects to port P of CID 2 is connected to the unix
// socket UDS_P.
//
// Subset: stream sockets only (no SEQPACKET), no live migration. Limits per guest: 1,024 connections, of which 64 may
// be still opening from the host's side.
//
// Sources: virtio 1.2 section 5.10 (socket device); QEMU docs/interop/vhost-user.rst.
package vvsock
