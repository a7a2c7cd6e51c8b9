package appliance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"picolab/guestagent/module"

	"golang.org/x/sys/unix"
)

const (
	lookAgain = 50 * time.Millisecond // between two looks at the devices there are
	// usbTime is for a stick to show before the drivers of everything else are loaded, which takes as long.
	usbTime = time.Second
)

// finder looks for the root.
type finder struct {
	Options
	modules  *module.Set
	logf     func(string, ...any)
	sys, dev string
	aliases  map[string]bool   // of devices whose drivers were asked for
	tried    map[string]string // what was seen on a device
}

// find mounts the root at Root and returns the device it is on. It looks until the time is over.
func (f *finder) find() (string, error) {
	if f.Delay > 0 {
		f.logf("waiting %v for slow devices", f.Delay)
		time.Sleep(f.Delay)
	}
	for _, dir := range []string{Root, Stick} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
	}
	names := []string{"squashfs", "overlay"}
	if f.Device == "" {
		names = append([]string{"sd_mod", "loop", "vfat", "nls_cp437", "nls_ascii"}, names...)
	}
	var loading sync.WaitGroup // two at a time, for machines with two CPUs
	loading.Go(func() { f.need(names...) })
	var others time.Time // when it is their turn
	switch {
	case f.Device == "": // a stick takes a while to show once its host controller is asked
		f.drivers(usbHost)
		f.need("usb_storage")
		if len(f.aliases) > 0 {
			others = time.Now().Add(usbTime)
		}
	case strings.HasPrefix(f.Device, "/dev/vd"):
		f.need("virtio_blk") // a virtual machine's disk is there at once: the other drivers can wait
	}
	loading.Wait()
	for end := time.Now().Add(f.Wait); ; time.Sleep(lookAgain) {
		device, err := f.look()
		if device != "" || err != nil {
			return device, err
		}
		if time.Now().After(others) {
			f.drivers(anyDevice)
		}
		if time.Now().After(end) {
			return "", f.failure()
		}
	}
}

// need loads modules; one that is built in or missing shows when it is used.
func (f *finder) need(names ...string) {
	for _, n := range names {
		if err := f.modules.Load(n); err != nil {
			f.logf("%v", err)
		}
	}
}

// Kinds of devices by their modaliases: any, and PCI's class of USB host controllers.
func anyDevice(string) bool { return true }

func usbHost(alias string) bool {
	return strings.HasPrefix(alias, "pci:") && strings.Contains(alias, "bc0Csc03")
}

// drivers loads what the devices of a kind that are there now ask for. Devices behind others come later.
func (f *finder) drivers(kind func(alias string) bool) {
	if f.aliases == nil {
		f.aliases = make(map[string]bool)
	}
	files, _ := filepath.Glob(filepath.Join(f.sys, "bus/*/devices/*/modalias")) // the pattern is well-formed
	for _, name := range files {
		data, err := os.ReadFile(name)
		alias := strings.TrimSpace(string(data))
		if err != nil || alias == "" || f.aliases[alias] || !kind(alias) {
			continue
		}
		f.aliases[alias] = true
		if _, err := f.modules.LoadAlias(alias); err != nil {
			f.logf("%v", err)
		}
	}
}

// look tries what was not tried before. An error is one that waiting does not mend.
func (f *finder) look() (string, error) {
	if f.Device != "" {
		if _, err := os.Stat(f.Device); err != nil {
			return "", nil
		}
		return f.Device, f.mountRoot(f.Device)
	}
	for _, b := range f.volumes() {
		if f.tried[b.path] != "" {
			continue
		}
		what, found := f.try(b)
		f.tried[b.path] = what
		if found {
			return b.path, f.mountRootFile()
		}
	}
	return "", nil
}

// mountRoot mounts a device with the squashfs, or a copy of it.
func (f *finder) mountRoot(device string) error {
	if f.Copy {
		return f.mountCopy(device)
	}
	if err := mountSquashfs(device); err != nil {
		return fmt.Errorf("root file system on %s: %w", device, err)
	}
	return nil
}

// mountRootFile mounts the squashfs on the stick.
func (f *finder) mountRootFile() error {
	name := filepath.Join(Stick, rootFile)
	if f.Copy {
		return f.mountCopy(name)
	}
	return mountLoop(name)
}

// A volume is a block device that may have a file system.
type volume struct {
	path string
	size int64 // bytes
}

// volumes lists the block devices with a medium, partitions before whole disks, in the order of their names.
func (f *finder) volumes() []volume {
	links, _ := filepath.Glob(filepath.Join(f.sys, "class/block/*"))
	var parts, disks []volume
	for _, l := range links {
		name := filepath.Base(l)
		data, err := os.ReadFile(filepath.Join(l, "size"))
		sectors, bad := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		if err != nil || bad != nil || sectors == 0 || strings.HasPrefix(name, "loop") || strings.HasPrefix(name, "ram") {
			continue
		}
		v := volume{filepath.Join(f.dev, strings.ReplaceAll(name, "!", "/")), sectors * 512}
		if _, err := os.Stat(filepath.Join(l, "partition")); err == nil {
			parts = append(parts, v)
		} else {
			disks = append(disks, v)
		}
	}
	return slices.Concat(parts, disks)
}

// try mounts a volume if it has a FAT and keeps it mounted if that is the one. It says what it saw.
func (f *finder) try(v volume) (what string, found bool) {
	switch fat, err := hasFAT(v.path); {
	case err != nil:
		return err.Error(), false
	case !fat:
		return "no FAT file system", false
	}
	if err := unix.Mount(v.path, Stick, "vfat", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "umask=0022"); err != nil {
		return fmt.Sprintf("mount: %v", err), false
	}
	if _, err := os.Stat(filepath.Join(Stick, folder, f.Image+".id")); err == nil {
		return "it", true
	}
	what = "FAT file system without " + folder + "/" + f.Image + ".id"
	if ids, _ := filepath.Glob(filepath.Join(Stick, folder, "*.id")); len(ids) > 0 {
		what = "another image: " + filepath.Base(ids[0])
	}
	if err := unix.Unmount(Stick, 0); err != nil {
		what += fmt.Sprintf(" (unmount: %v)", err)
	}
	return what, false
}

// hasFAT looks at a volume's first sector: the signature at its end, and where FAT16 and FAT32 have their name
// (Microsoft's FAT specification 1.03, "Boot Sector and BPB").
func hasFAT(path string) (bool, error) {
	in, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer in.Close()
	b := make([]byte, 512)
	if _, err := io.ReadFull(in, b); err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	named := bytes.HasPrefix(b[82:], []byte("FAT32")) || bytes.HasPrefix(b[54:], []byte("FAT"))
	return named && b[510] == 0x55 && b[511] == 0xaa, nil
}

// failure tells what was seen in place of the root.
func (f *finder) failure() error {
	want := f.Device
	if want == "" {
		want = "the volume with " + folder + "/" + f.Image + ".id"
	}
	var seen []string
	for _, v := range f.volumes() {
		line := fmt.Sprintf("%s (%.1f MB)", v.path, float64(v.size)/1e6)
		if what := f.tried[v.path]; what != "" {
			line += ": " + what
		}
		seen = append(seen, line)
	}
	if len(seen) == 0 {
		seen = []string{"no disk at all"}
	}
	return errors.New("root file system: " + want + " did not appear within " + f.Wait.String() + ". There is:\n    " + strings.Join(seen, "\n    ") +
		"\n  A slow device: boot with picolab.rootwait=300. A controller that is not listed: its driver is missing.")
}
