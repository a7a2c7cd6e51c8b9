package launch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"picolab/hostctl/internal/place"
	"picolab/hostctl/internal/qemu"
	"picolab/images/manifest"
)

// Where a running appliance has things.
const (
	builtIn     = "/usr/share/picolab/images"  // images that came with it
	stickFolder = "/run/picolab/stick/picolab" // the image's files on the FAT volume it was started from
	imageFile   = "/run/picolab/image"         // the id of the image
)

// A bootable is what a machine needs to boot an image.
type bootable struct {
	id           string // what the agent in there says it runs
	host         bool   // it is a host image
	kernel       string
	kernelSHA256 string
	segments     []string // of the initial RAM disk
	root         string   // folder that the only segment is made from; then segments is empty
	words        []string // the image's kernel arguments
	disks        []qemu.Disk
	arguments    []string // more of the kernel, for the disks
}

// world is where images are looked for; tests have another.
type world struct {
	images []string // folders with images by name, in order
	stick  string   // folder that may hold the image that runs here
	here   appliance
}

func thisWorld() world {
	w := world{stick: stickFolder, here: thisAppliance()}
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
		m, err := w.named(image)
		if err != nil {
			return bootable{}, err
		}
		return fromImage(m)
	case "self":
		return w.running()
	}
	m, err := manifest.Read(image)
	if err != nil {
		return bootable{}, err
	}
	return fromImage(m)
}

func (w world) named(name string) (*manifest.Manifest, error) {
	var errs []error
	for _, dir := range w.images {
		m, err := manifest.Read(filepath.Join(dir, name))
		if err == nil {
			return m, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("find the %s image: %w", name, errors.Join(errs...))
}

// rootArgument tells an appliance that its root file system is its only disk.
const rootArgument = "picolab.root=/dev/vda"

// fromImage gives an image of kind host its root file system as a disk.
func fromImage(m *manifest.Manifest) (bootable, error) {
	b := bootable{id: m.ID, host: m.Kind == manifest.KindHost, kernel: m.Kernel(), kernelSHA256: m.KernelSHA256(), segments: m.Segments(),
		words: m.CommandLine}
	if b.kernel == "" || len(b.segments) == 0 {
		return b, fmt.Errorf("image %s has no kernel and segments to boot", m.Name)
	}
	if root := m.RootFile(); root != "" {
		b.disks = []qemu.Disk{{ID: "root", File: root, ReadOnly: true}}
		b.arguments = []string{rootArgument}
	}
	return b, nil
}

// running is the image that runs here: that on the stick, else what the running appliance is made of. Its root is a disk of
// the machine, in both cases the very file or device that is the root here, so that the machine can do the same again.
func (w world) running() (bootable, error) {
	m, err := manifest.Read(w.stick)
	if err == nil {
		return fromImage(m)
	}
	guest, gerr := w.named("guest")
	if gerr != nil {
		return bootable{}, errors.Join(err, gerr)
	}
	b, herr := w.here.bootable(guest)
	if herr != nil {
		return b, fmt.Errorf("find the image that runs here (is this a booted appliance?): %w", errors.Join(err, herr))
	}
	return b, nil
}
