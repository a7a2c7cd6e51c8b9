package flash

import (
	"fmt"
	"strings"
)

// Device is what the kernel tells about a block device.
type Device struct {
	Name   string // as in /sys/block, "sdb"
	Path   string // of its node, links resolved
	Number string // "8:16"
	Seq    string // diskseq: counts every medium and device since boot, "" before Linux 5.15
	Whole  string // a partition's disk, "" for a disk

	Size   int64 // bytes, 0 without a medium
	Sector int   // bytes of a logical sector

	Bus     string // usb, mmc, ata, nvme, virtio, scsi, virtual
	Model   string
	Serial  string // "" when the maker gave none
	Virtual bool   // made of other devices or of memory: dm, md, zram, nbd; a loop device is not

	Removable, ReadOnly, Optical bool

	Holders []string // devices made of it or its partitions, "dm-0"
	Mounts  []string // where it or its partitions are mounted
	Swap    []string // those of its partitions that are swap
}

// ID is what a person types to name the device for sure: the serial, or for want of one the exact size.
func (d Device) ID() string {
	if d.Serial != "" {
		return d.Serial
	}
	return fmt.Sprintf("none-%d", d.Size)
}

// identity is what must not change between the confirmation and the writing.
func (d Device) identity() string {
	return strings.Join([]string{d.Number, d.Seq, d.Bus, d.Model, d.ID(), fmt.Sprint(d.Size)}, "\x00")
}

// String sums the device up for a person.
func (d Device) String() string {
	model := d.Model
	if model == "" {
		model = "unknown model"
	}
	return fmt.Sprintf("%s: %s, serial %s, %.1f GB, %s", d.Path, model, d.ID(), float64(d.Size)/1e9, d.Bus)
}
