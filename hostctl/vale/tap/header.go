package tap

import (
	"encoding/binary"

	"picolab/hostctl/vale"
)

// header reads struct virtio_net_hdr, which is in the byte order of this machine. Of the flags only NeedsCsum is the
// switch's; the kernel's DATA_VALID says that it has checked a frame, which a frame from a guest's peer has no need of.
func header(b []byte) vale.Header {
	o := binary.NativeEndian
	return vale.Header{Flags: b[0] & vale.NeedsCsum, GSOType: b[1], HdrLen: o.Uint16(b[2:]), GSOSize: o.Uint16(b[4:]),
		CsumStart: o.Uint16(b[6:]), CsumOffset: o.Uint16(b[8:])}
}

func encode(b *[headSize]byte, h *vale.Header) {
	b[0], b[1] = h.Flags, h.GSOType
	o := binary.NativeEndian
	o.PutUint16(b[2:], h.HdrLen)
	o.PutUint16(b[4:], h.GSOSize)
	o.PutUint16(b[6:], h.CsumStart)
	o.PutUint16(b[8:], h.CsumOffset)
}
