package launch

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"picolab/hostctl/internal/place"
	"picolab/hostctl/internal/qemu"
	"picolab/images/manifest"
)

// Where a running appliance has things.
const (
	builtIn     = "/usr/share/picolab/images" // images that came with it
	stick       = "/run/picolab/stick"        // the FAT volume it was started from
	stickFolder = stick + "/picolab"          // the image's files on it
)

// A bootable is an image with what a machine needs besides kernel and segments.
type bootable struct {
	image     *manifest.Manifest
	disks     []qemu.Disk
	arguments []string // of the kernel
}

// world is where images are looked for; tests have another.
type world struct {
	images []string // folders with images by name, in order
	self   []string // folders that may hold the image that runs here, in order
	mounts string   // /proc/self/mountinfo
	blocks string   // /sys/class/block
}

func thisWorld() world {
	w := world{self: []string{stickFolder, "/run/picolab/self"}, mounts: "/proc/self/mountinfo", blocks: "/sys/class/block"}
	if dir := os.Getenv("PICOLAB_IMAGES"); dir != "" {
		w.images = append(w.images, dir)
	}
	w.images = append(w.images, builtIn, place.DefaultImages)
	return w
}

// find reads the image that --image names.
func (w world) find(image string) (bootable, error) {
	switch image {
	case "guest":
		return w.named(image)
	case "self":
		return w.running()
	}
	m, err := manifest.Read(image)
	if err != nil {
		return bootable{}, err
	}
	return withRoot(m)
}

func (w world) named(name string) (bootable, error) {
	var errs []error
	for _, dir := range w.images {
		m, err := manifest.Read(filepath.Join(dir, name))
		if err == nil {
			return withRoot(m)
		}
		errs = append(errs, err)
	}
	return bootable{}, fmt.Errorf("find the %s image: %w", name, errors.Join(errs...))
}

// withRoot gives an image of kind host its root file system as a disk.
func withRoot(m *manifest.Manifest) (bootable, error) {
	b := bootable{image: m}
	if m.Kernel() == "" || len(m.Segments()) == 0 {
		return b, fmt.Errorf("image %s has no kernel and segments to boot", m.Name)
	}
	if root := m.RootFile(); root != "" {
		b.disks = []qemu.Disk{{ID: "root", File: root, ReadOnly: true}}
		b.arguments = []string{"picolab.root=/dev/vda"}
	}
	return b, nil
}

// running is the image that runs here. The machine gets the stick itself, read-only, and finds its root on it as this one
// did, so that it can do the same again; it leaves alone what the stick asks for at boot.
func (w world) running() (bootable, error) {
	var errs []error
	for _, dir := range w.self {
		m, err := manifest.Read(dir)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		b, err := withRoot(m)
		if err != nil {
			return b, err
		}
		if dev := w.disk(filepath.Dir(dir)); dev != "" {
			b.disks = []qemu.Disk{{ID: "stick", File: dev, ReadOnly: true, Device: true}}
			b.arguments = []string{"picolab.stick=" + m.ID[:16]}
		}
		b.arguments = append(b.arguments, "picolab.site=off", "picolab.run=off")
		return b, nil
	}
	return bootable{}, fmt.Errorf("find the image that runs here (is this a booted appliance?): %w", errors.Join(errs...))
}

// disk is the whole block device that is mounted at path, "" when none is.
func (w world) disk(path string) string {
	f, err := os.Open(w.mounts)
	if err != nil {
		return ""
	}
	defer f.Close()
	dev := ""
	for s := bufio.NewScanner(f); s.Scan(); {
		if at, source := mount(s.Text()); at == path && strings.HasPrefix(source, "/dev/") {
			dev = source
		}
	}
	return w.whole(dev)
}

// mount takes a line of mountinfo apart: the fields up to the separator "-" vary in number (proc_pid_mountinfo(5)).
func mount(line string) (at, source string) {
	before, after, ok := strings.Cut(line, " - ")
	fields, more := strings.Fields(before), strings.Fields(after)
	if !ok || len(fields) < 5 || len(more) < 2 {
		return "", ""
	}
	return fields[4], more[1]
}

// whole is the disk that a partition is part of.
func (w world) whole(dev string) string {
	if dev == "" {
		return ""
	}
	link, err := filepath.EvalSymlinks(filepath.Join(w.blocks, filepath.Base(dev)))
	if err != nil {
		return dev
	}
	if _, err := os.Stat(filepath.Join(link, "partition")); err != nil {
		return dev
	}
	return "/dev/" + filepath.Base(filepath.Dir(link))
}
