package switchboard

import "encoding/binary"

// flow returns a hash of a frame's addresses and ports, the same for all packets of a flow and all their fragments; 0 for
// what is not IP.
func flow(b []byte) uint32 {
	at := 12
	for len(b) >= at+4 && isVLAN(b[at:]) {
		at += 4
	}
	if len(b) < at+2 {
		return 0
	}
	ip := b[at+2:]
	switch binary.BigEndian.Uint16(b[at:]) {
	case 0x0800:
		return flow4(ip)
	case 0x86dd:
		return flow6(ip)
	}
	return 0
}

func isVLAN(b []byte) bool {
	t := binary.BigEndian.Uint16(b)
	return t == 0x8100 || t == 0x88a8
}

func flow4(ip []byte) uint32 {
	if len(ip) < 20 {
		return 0
	}
	h := binary.LittleEndian.Uint64(ip[12:])
	size := int(ip[0]&15) * 4
	fragment := binary.BigEndian.Uint16(ip[6:])&0x3fff != 0 // offset or more to come: some have no ports
	if !fragment && hasPorts(ip[9]) && len(ip) >= size+4 {
		h ^= uint64(binary.LittleEndian.Uint32(ip[size:]))<<16 | uint64(ip[9])
	}
	return mix(h)
}

func flow6(ip []byte) uint32 {
	if len(ip) < 40 {
		return 0
	}
	h := uint64(0)
	for i := 8; i < 40; i += 8 {
		h = h*31 ^ binary.LittleEndian.Uint64(ip[i:])
	}
	if hasPorts(ip[6]) && len(ip) >= 44 {
		h ^= uint64(binary.LittleEndian.Uint32(ip[40:]))<<16 | uint64(ip[6])
	}
	return mix(h)
}

func hasPorts(protocol byte) bool { return protocol == 6 || protocol == 17 || protocol == 132 }

// mix spreads: a product's bits depend on none of its factors' higher ones, in which the last byte of an address is.
func mix(h uint64) uint32 { return uint32((h ^ h>>32) * 0x9e3779b97f4a7c15 >> 32) }
