package lab

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// MAC derives the address of a guest's NIC: QEMU's prefix 52:54:00 and 24 bits of a hash over the three names, so the
// same spec always gives the same argv.
func MAC(lab, guest string, index int) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d", lab, guest, index))
	return fmt.Sprintf("52:54:00:%02x:%02x:%02x", h[0], h[1], h[2])
}

// cid derives a guest's vsock context id. The kernel's vhost-vsock has one space of ids for the whole machine, so ids
// counted from 3 would keep two labs from running side by side.
func cid(lab, guest string) uint32 {
	h := sha256.Sum256(fmt.Appendf(nil, "cid %s/%s", lab, guest))
	return 1<<16 + binary.BigEndian.Uint32(h[:])>>8
}
