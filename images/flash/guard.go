package flash

import (
	"fmt"
	"strings"
)

// RefusedError says why a device is not written to. Nothing was changed.
type RefusedError struct {
	Device string // path
	Reason string
	Remedy string
}

func (e *RefusedError) Error() string {
	s := fmt.Sprintf("refused: %s: %s", e.Device, e.Reason)
	if e.Remedy != "" {
		s += "; " + e.Remedy
	}
	return s
}

func refused(d Device, reason, remedy string) error {
	return &RefusedError{d.Path, reason, remedy}
}

// system are the mount points that a running machine cannot do without.
var system = []string{"/", "/boot", "/boot/efi", "/efi", "/usr", "/var", "/home"}

// sectorSize is that of the images.
const sectorSize = 512

// A guard refuses some state of a device for an image of size bytes, by a reason.
type guard func(d Device, size int64) (reason, remedy string)

// always are the guards that nothing lifts, the most telling first.
var always = []guard{
	func(d Device, _ int64) (string, string) {
		return when(d.Whole != "", "it is a partition of "+d.Whole), "name the whole device"
	},
	func(d Device, _ int64) (string, string) { return when(d.Optical, "it is an optical drive"), "" },
	func(d Device, _ int64) (string, string) {
		return when(d.Virtual, "it is made of other devices or of memory"), "name a real device"
	},
	func(d Device, _ int64) (string, string) {
		return when(d.Size <= 0, "there is no medium in it"), "insert the card"
	},
	func(d Device, _ int64) (string, string) {
		return when(len(d.Swap) > 0, "it is the machine's swap space: "+strings.Join(d.Swap, " ")), ""
	},
	systemDisk,
	func(d Device, _ int64) (string, string) {
		return when(len(d.Mounts) > 0, "it is mounted on "+strings.Join(d.Mounts, " ")), "unmount it: umount " + strings.Join(d.Mounts, " ")
	},
	func(d Device, _ int64) (string, string) {
		return when(len(d.Holders) > 0, "it is part of "+strings.Join(d.Holders, " ")), "take that apart first"
	},
	func(d Device, _ int64) (string, string) {
		return when(d.ReadOnly, "it is read-only"), "look for a switch on the card"
	},
	func(d Device, _ int64) (string, string) {
		return when(d.Sector != sectorSize, fmt.Sprintf("its sectors have %d bytes, a disk image's have %d", d.Sector, sectorSize)), "take another device"
	},
	func(d Device, size int64) (string, string) {
		return when(d.Size < size, fmt.Sprintf("it has %d bytes, the image %d", d.Size, size)), "take a larger one"
	},
}

func when(bad bool, reason string) string {
	if bad {
		return reason
	}
	return ""
}

func systemDisk(d Device, _ int64) (string, string) {
	for _, m := range d.Mounts {
		for _, s := range system {
			if m == s {
				return "the running system is on it: " + m, ""
			}
		}
	}
	return "", ""
}

// Check passes a device that an image of size bytes may be written to. Force lets devices pass that are fixed disks by
// all appearances, and nothing else.
func Check(d Device, size int64, force bool) error {
	for _, g := range always {
		if reason, remedy := g(d, size); reason != "" {
			return refused(d, reason, remedy)
		}
	}
	if !force && !d.Removable && d.Bus != "usb" && d.Bus != "mmc" {
		return refused(d, fmt.Sprintf("it is a fixed disk (%s), neither removable nor USB nor a memory card", d.Bus), "if it is the right one all the same: --force")
	}
	return nil
}

// Confirmed is a Confirm that takes exactly the device with this ID.
func Confirmed(id string) func(Device, *Image) error {
	return func(d Device, _ *Image) error {
		if id == "" || id != d.ID() {
			return refused(d, fmt.Sprintf("its serial is %q, not %q", d.ID(), id), "see labimage flash --list")
		}
		return nil
	}
}
