package flash

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is the System of the machine this runs on. The zero value is right; other roots are for tests.
type Machine struct {
	Sys, Proc, Dev string // "/sys", "/proc", "/dev" when empty
}

func (m Machine) sys(elem ...string) string  { return under(m.Sys, "/sys", elem) }
func (m Machine) proc(elem ...string) string { return under(m.Proc, "/proc", elem) }
func (m Machine) dev(elem ...string) string  { return under(m.Dev, "/dev", elem) }

func under(root, usual string, elem []string) string {
	if root == "" {
		root = usual
	}
	return filepath.Join(append([]string{root}, elem...)...)
}

// List returns every whole device, by name. Those without a medium are among them, RAM disks and unused loops are not.
func (m Machine) List() ([]Device, error) {
	entries, err := os.ReadDir(m.sys("block"))
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	var list []Device
	for _, e := range entries {
		d, err := m.describe(m.sys("block", e.Name()))
		if errors.Is(err, fs.ErrNotExist) { // unplugged since
			continue
		}
		if err != nil {
			return nil, err
		}
		if !d.Virtual && (d.Size > 0 || d.Bus != "virtual") {
			list = append(list, d)
		}
	}
	return list, nil
}

// Find describes the device that path leads to.
func (m Machine) Find(path string) (Device, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return Device{}, &RefusedError{path, "it does not exist", "see labimage flash --list"}
	}
	var st unix.Stat_t
	if err := unix.Stat(real, &st); err != nil {
		return Device{}, fmt.Errorf("stat %s: %w", real, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return Device{}, &RefusedError{path, "it is not a block device", "see labimage flash --list"}
	}
	d, err := m.numbered(st.Rdev)
	d.Path = real
	return d, err
}

// numbered describes the device with a number.
func (m Machine) numbered(rdev uint64) (Device, error) {
	return m.describe(m.sys("dev/block", fmt.Sprintf("%d:%d", unix.Major(rdev), unix.Minor(rdev))))
}

// describe reads a device's folder in sysfs.
func (m Machine) describe(link string) (Device, error) {
	dir, err := filepath.EvalSymlinks(link)
	if err != nil {
		return Device{}, fmt.Errorf("describe device: %w", err)
	}
	d := Device{Name: filepath.Base(dir), Path: m.dev(filepath.Base(dir)), Number: text(dir, "dev"), Seq: text(dir, "diskseq")}
	if _, err := os.Stat(filepath.Join(dir, "partition")); err == nil {
		d.Whole = m.dev(filepath.Base(filepath.Dir(dir)))
		d.Size = 512 * number(dir, "size")
		return d, nil
	}
	d.Size = 512 * number(dir, "size") // sysfs counts in 512 bytes whatever the device does
	d.Sector = int(number(dir, "queue/logical_block_size"))
	d.Removable, d.ReadOnly = number(dir, "removable") == 1, number(dir, "ro") == 1
	d.Bus, d.Optical = bus(dir), strings.HasPrefix(d.Name, "sr")
	d.Virtual = strings.Contains(dir, "/devices/virtual/") && !strings.HasPrefix(d.Name, "loop")
	d.Model, d.Serial = model(dir), serial(dir)
	return d, m.uses(dir, &d)
}

// uses finds out what a disk and its partitions are used for.
func (m Machine) uses(dir string, d *Device) error {
	parts, err := filepath.Glob(filepath.Join(dir, d.Name+"*", "partition"))
	if err != nil {
		return err
	}
	all := []string{dir}
	for _, p := range parts {
		all = append(all, filepath.Dir(p))
	}
	in, err := m.inUse()
	if err != nil {
		return err
	}
	for _, p := range all {
		held, err := os.ReadDir(filepath.Join(p, "holders"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, h := range held {
			d.Holders = append(d.Holders, h.Name())
		}
		name := filepath.Base(p)
		d.Mounts = append(d.Mounts, in.mounts[text(p, "dev")]...)
		d.Mounts = append(d.Mounts, in.mounts[name]...)
		d.Swap = append(d.Swap, in.swap[name]...)
	}
	slices.Sort(d.Mounts)
	d.Mounts = slices.Compact(d.Mounts)
	return nil
}

// text reads a sysfs attribute, "" when there is none.
func text(dir, name string) string {
	data, _ := os.ReadFile(filepath.Join(dir, name))
	return strings.TrimSpace(strings.ToValidUTF8(string(bytes.Trim(data, "\x00")), "?"))
}

func number(dir, name string) int64 {
	n, _ := strconv.ParseInt(text(dir, name), 10, 64)
	return n
}

// bus is what the device is connected by, the nearest to it that counts.
func bus(dir string) string {
	for _, b := range []struct{ part, name string }{{"/usb", "usb"}, {"/mmc_host/", "mmc"}, {"/nvme", "nvme"}, {"/ata", "ata"}, {"/virtio", "virtio"}, {"/host", "scsi"}, {"/devices/virtual/", "virtual"}} {
		if strings.Contains(dir, b.part) {
			return b.name
		}
	}
	return "other"
}

// model is what the maker calls it; a loop device is called after its file.
func model(dir string) string {
	name := strings.Join(strings.Fields(text(dir, "device/vendor")+" "+text(dir, "device/model")+" "+text(dir, "device/name")), " ")
	if strings.HasPrefix(name, "0x") { // a virtio device's number of its maker
		_, name, _ = strings.Cut(name, " ")
	}
	if name == "" {
		name = text(dir, "loop/backing_file")
	}
	return name
}

// serial is the number that the maker gave the device itself, or for USB the one of the whole stick, in a folder above.
func serial(dir string) string {
	for _, name := range []string{"serial", "device/serial", "device/wwid"} {
		if s := text(dir, name); s != "" && (name != "device/wwid" || !strings.Contains(dir, "/usb")) {
			return s
		}
	}
	if page := text(dir, "device/vpd_pg80"); len(page) > 4 && !strings.Contains(dir, "/usb") { // SPC-4 section 7.8.17: 4 bytes before it
		return strings.TrimSpace(page[4:])
	}
	for up := filepath.Dir(dir); strings.Contains(up, "/usb"); up = filepath.Dir(up) {
		if text(up, "idVendor") != "" {
			return text(up, "serial")
		}
	}
	return ""
}
