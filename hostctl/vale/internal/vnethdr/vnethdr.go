// Package vnethdr reads and writes struct virtio_net_hdr as Linux puts it before frames of taps and packet sockets: ten bytes,
// in the byte order of this machine (linux/virtio_net.h, packet(7) PACKET_VNET_HDR, tuntap.rst); [Port] is what ports
// for such frames share.
package vnethdr

import (
	"encoding/binary"

	"picolab/hostctl/vale"
)

// Size is the header's, in bytes.
const Size = 10

// Get reads a header from the first Size bytes of b. Of the flags only NeedsCsum is the switch's; the kernel's DATA_VALID says
// that it has checked a frame, which a frame from a guest's peer has no need of.
func Get(b []byte) vale.Header {
	o := binary.NativeEndian
	return vale.Header{Flags: b[0] & vale.NeedsCsum, GSOType: b[1], HdrLen: o.Uint16(b[2:]), GSOSize: o.Uint16(b[4:]),
		CsumStart: o.Uint16(b[6:]), CsumOffset: o.Uint16(b[8:])}
}

// Put writes a header to b.
func Put(b *[Size]byte, h *vale.Header) {
	b[0], b[1] = h.Flags, h.GSOType
	o := binary.NativeEndian
	o.PutUint16(b[2:], h.HdrLen)
	o.PutUint16(b[4:], h.GSOSize)
	o.PutUint16(b[6:], h.CsumStart)
	o.PutUint16(b[8:], h.CsumOffset)
}
