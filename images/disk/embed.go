package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Offsets in the first sector: in GRUB's boot.img (GRUB_BOOT_MACHINE_KERNEL_SECTOR and _DRIVE_CHECK), and in an MBR
// (UEFI 2.10 section 5.2.1).
const (
	bootCode      = 440 // bytes of code
	bootCoreLBA   = 0x5c
	bootDriveJump = 0x66
	mbrSignature  = 440
	mbrSecondSlot = 446 + 16
)

// Offsets in the first sector of core.img, its block list's only entry (include/grub/offsets.h): where the rest is, in
// how many sectors, and to which segment it is loaded.
const (
	coreRestLBA     = 0x1f4
	coreRestSectors = 0x1fc
	coreRestSegment = 0x1fe
	restSegment     = 0x820
)

// embed writes GRUB for BIOSes: its first sector's code into the MBR and its core between the partition table and the
// ESP. This is what grub-install does, without a device.
func (p *plan) embed(w io.WriterAt, l *loaders) error {
	boot, err := bootSector(l.boot, p.core)
	if err != nil {
		return err
	}
	core, err := coreImage(l.core, p.core, p.espFirst-p.core)
	if err != nil {
		return err
	}
	if _, err := w.WriteAt(core, p.core*sector); err != nil {
		return err
	}
	if _, err := w.WriteAt(boot, 0); err != nil {
		return err
	}
	if p.layout == MBR {
		_, err = w.WriteAt(binary.LittleEndian.AppendUint32(nil, p.signature), mbrSignature)
		return err
	}
	return activate(w)
}

// activate puts an active entry of type 0 into the second slot of a protective MBR. Some BIOSes boot no disk without an
// active partition, UEFI ignores entries of type 0, and the GPT rules forbid the flag on the first slot.
func activate(w io.WriterAt) error {
	entry := make([]byte, 16)
	entry[0] = 0x80
	entry[12] = 1 // one sector, from sector 0
	_, err := w.WriteAt(entry, mbrSecondSlot)
	return err
}

// bootSector is the code of boot.img, told where the core is.
func bootSector(img []byte, core int64) ([]byte, error) {
	if len(img) != sector || img[bootDriveJump] != 0xeb {
		return nil, errors.New("boot.img is not GRUB's")
	}
	b := append([]byte{}, img[:bootCode]...)
	binary.LittleEndian.PutUint64(b[bootCoreLBA:], uint64(core))
	// The jump skips a test for BIOSes that name the wrong drive; it must run on disks.
	b[bootDriveJump], b[bootDriveJump+1] = 0x90, 0x90
	return b, nil
}

// coreImage is core.img, told where on the disk its second sector is. It has room sectors.
func coreImage(img []byte, lba, room int64) ([]byte, error) {
	if len(img) < 2*sector {
		return nil, errors.New("core.img is too short")
	}
	n := (len(img) + sector - 1) / sector
	if int64(n) > room {
		return nil, fmt.Errorf("core.img has %d sectors, there is room for %d", n, room)
	}
	c := make([]byte, n*sector)
	copy(c, img)
	if got := binary.LittleEndian.Uint16(c[coreRestSegment:]); got != restSegment {
		return nil, fmt.Errorf("core.img is loaded to segment %#x, not %#x", got, restSegment)
	}
	binary.LittleEndian.PutUint64(c[coreRestLBA:], uint64(lba)+1)
	binary.LittleEndian.PutUint16(c[coreRestSectors:], uint16(n-1))
	return c, nil
}
