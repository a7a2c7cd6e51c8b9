package packet

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vale"
)

// struct tpacket_auxdata (linux/if_packet.h): status, len, snaplen u32, mac, net, vlan_tci, vlan_tpid u16.
const (
	auxSize     = 20
	auxTCI      = 16
	auxTPID     = 18
	statusVLAN  = 1 << 4 // TP_STATUS_VLAN_VALID
	statusTPID  = 1 << 6 // TP_STATUS_VLAN_TPID_VALID
	defaultTPID = 0x8100
)

// tagOf finds in control messages the VLAN tag that the kernel took out of a frame: TPID and TCI.
func tagOf(control []byte) (tag uint32, ok bool) {
	for len(control) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return 0, false
		}
		if h.Level == unix.SOL_PACKET && h.Type == unix.PACKET_AUXDATA && len(data) >= auxSize {
			return auxTag(data)
		}
		control = rest
	}
	return 0, false
}

func auxTag(aux []byte) (tag uint32, ok bool) {
	o := binary.NativeEndian
	status := o.Uint32(aux)
	if status&statusVLAN == 0 {
		return 0, false
	}
	tpid := uint32(defaultTPID)
	if status&statusTPID != 0 {
		tpid = uint32(o.Uint16(aux[auxTPID:]))
	}
	return tpid<<16 | uint32(o.Uint16(aux[auxTCI:])), true
}

// retag puts a tag back behind the addresses. The frame has room for it at its end.
func retag(f *vale.Frame, tag uint32) {
	if len(f.Data) < addrs {
		return
	}
	n := len(f.Data)
	f.Data = f.Data[:n+tagSize]
	copy(f.Data[addrs+tagSize:], f.Data[addrs:n])
	binary.BigEndian.PutUint32(f.Data[addrs:], tag)
	if f.Header.Flags&vale.NeedsCsum != 0 {
		f.Header.CsumStart += tagSize
		f.Header.HdrLen += tagSize
	}
}
