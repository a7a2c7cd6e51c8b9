package launch

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"picolab/hostctl/internal/newc"
	"picolab/hostctl/internal/place"
	"picolab/hostctl/internal/qemu"
	"picolab/images/manifest"
)

// An appliance is a running host image that has no stick: a machine that was given its kernel and boot segments, and its root
// file system as a disk. It can start itself again all the same: the root is a device, the kernel is the one of the guest
// image it carries, and what has to be in memory until the root is mounted is in that root.
type appliance struct {
	root    string // where the root file system is mounted as it is in the image
	mounts  string // /proc/self/mountinfo
	cmdline string // /proc/cmdline
	image   string // file with the id
	release string // of the kernel
}

func thisAppliance() appliance {
	a := appliance{root: place.ApplianceRoot, mounts: "/proc/self/mountinfo", cmdline: "/proc/cmdline", image: imageFile}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		a.release = unix.ByteSliceToString(u.Release[:])
	}
	return a
}

// bootable is the appliance with the kernel of an image that has the same.
func (a appliance) bootable(kernel *manifest.Manifest) (bootable, error) {
	device := a.device()
	if device == "" {
		return bootable{}, fmt.Errorf("no device is mounted at %s", a.root)
	}
	if kernel.Kernel() == "" || kernel.KernelRelease != a.release {
		return bootable{}, fmt.Errorf("the kernel that runs is %s, image %s has %q", a.release, kernel.Name, kernel.KernelRelease)
	}
	id, err := os.ReadFile(a.image)
	if err != nil {
		return bootable{}, err
	}
	line, err := os.ReadFile(a.cmdline)
	if err != nil {
		return bootable{}, err
	}
	clean, _, _ := strings.Cut(strings.TrimSpace(string(id)), "+") // the site folder does not come along
	return bootable{
		id: clean, host: true, kernel: kernel.Kernel(), kernelSHA256: kernel.KernelSHA256(), root: a.root, words: lasting(string(line)),
		disks: []qemu.Disk{{ID: "root", File: device, ReadOnly: true, Device: true}}, arguments: []string{rootArgument, "rdinit=/" + first},
	}, nil
}

// device is what is mounted at the root, "" when nothing is.
func (a appliance) device() string {
	f, err := os.Open(a.mounts)
	if err != nil {
		return ""
	}
	defer f.Close()
	dev := ""
	for s := bufio.NewScanner(f); s.Scan(); {
		if at, source := mount(s.Text()); at == a.root && strings.HasPrefix(source, "/dev/") {
			dev = source
		}
	}
	return dev
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

// lasting are the kernel arguments that are not about one boot, each once, where it was last.
func lasting(cmdline string) []string {
	var words []string
	for _, w := range strings.Fields(cmdline) {
		name, _, _ := strings.Cut(w, "=")
		if strings.HasPrefix(w, "picolab.") || slices.Contains([]string{"BOOT_IMAGE", "initrd", "rdinit", "no_timer_check"}, name) {
			continue
		}
		words = append(slices.DeleteFunc(words, func(have string) bool { return have == w }), w)
	}
	return words
}

// first is the first process of a boot segment that is made here, relative to its root: the busybox by the name of one of its
// commands, since a newc archive of ours has no links.
const first = "bbin/guestagent"

// rootModules are what it takes to mount a root file system that is a virtio disk.
var rootModules = []string{"virtio_blk", "squashfs", "overlay"}

// bootSegment makes a boot segment of a root file system: its busybox, the modules to mount it, and their index.
func bootSegment(root, release string) ([]newc.File, error) {
	box, err := os.ReadFile(filepath.Join(root, "bbin/bb"))
	if err != nil {
		return nil, err
	}
	dir := "lib/modules/" + release
	dep, err := os.ReadFile(filepath.Join(root, "usr", dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(root, "usr", dir, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	lines := closure(string(dep), rootModules)
	files := []newc.File{{Path: first, Mode: 0o755, Data: box}, {Path: dir + "/modules.builtin", Mode: 0o644, Data: builtin},
		{Path: dir + "/modules.dep", Mode: 0o644, Data: []byte(strings.Join(lines, "\n") + "\n")}}
	for _, line := range lines {
		name, _, _ := strings.Cut(line, ":")
		data, err := os.ReadFile(filepath.Join(root, "usr", dir, name))
		if err != nil {
			return nil, err
		}
		files = append(files, newc.File{Path: path.Join(dir, name), Mode: 0o644, Data: data})
	}
	return files, nil
}

// closure are the lines of modules.dep, "kernel/a.ko: kernel/b.ko", for the modules named and for what they need. One that is
// not there is built in.
func closure(dep string, names []string) []string {
	lines := map[string]string{}
	for line := range strings.Lines(dep) {
		file, _, _ := strings.Cut(line, ":")
		lines[moduleName(file)] = strings.TrimSpace(line)
	}
	var out []string
	for wanted := slices.Clone(names); len(wanted) > 0; wanted = wanted[1:] {
		line, ok := lines[wanted[0]]
		if !ok || slices.Contains(out, line) {
			continue
		}
		out = append(out, line)
		_, needs, _ := strings.Cut(line, ":")
		for _, file := range strings.Fields(needs) {
			wanted = append(wanted, moduleName(file))
		}
	}
	return out
}

// moduleName is a module's name as the kernel has it.
func moduleName(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(path.Base(strings.TrimSpace(file)), ".ko"), "-", "_")
}

// writeBootSegment writes one to a file.
func writeBootSegment(to, root, release string) (err error) {
	files, err := bootSegment(root, release)
	if err != nil {
		return fmt.Errorf("make boot segment: %w", err)
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("make boot segment: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return newc.Write(f, files)
}
