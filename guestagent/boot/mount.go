package boot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// cgroupRoot is where commands are confined.
const cgroupRoot = "/sys/fs/cgroup"

type mountPoint struct {
	source, target, fstype string
	flags                  uintptr
	data                   string
}

const safe = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

var mounts = []mountPoint{
	{"devtmpfs", "dev", "devtmpfs", unix.MS_NOSUID, "mode=0755"},
	{"proc", "proc", "proc", safe, ""},
	{"sysfs", "sys", "sysfs", safe, ""},
	{"devpts", "dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666"},
	{"tmpfs", "dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	{"tmpfs", "run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
	{"tmpfs", "tmp", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777,size=90%"},
}

// machineMounts are what an appliance has beside these: for DPDK's memory, and for the maps of XDP programs. They are made
// last: for what fills bpf's the kernel asks modprobe, which takes half a second under emulation.
var machineMounts = []mountPoint{
	{"hugetlbfs", "dev/hugepages", "hugetlbfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0700"},
	{"bpf", "sys/fs/bpf", "bpf", safe, "mode=0700"},
}

// mountAll makes the usual file systems; all that can be mounted are, whatever fails.
func mountAll(root string, mounts []mountPoint) error {
	var errs []error
	for _, m := range mounts {
		target := filepath.Join(root, m.target)
		if err := os.MkdirAll(target, 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		if mounted(target) { // it came along from another root
			continue
		}
		err := unix.Mount(m.source, target, m.fstype, m.flags, m.data)
		if err != nil && !errors.Is(err, unix.EBUSY) { // the kernel may have mounted /dev
			errs = append(errs, fmt.Errorf("%s: %w", target, err))
		}
	}
	return errors.Join(errs...)
}

// mounted says whether a folder is on another file system than the one above it.
func mounted(dir string) bool {
	var of, above unix.Stat_t
	return unix.Stat(dir, &of) == nil && unix.Stat(filepath.Dir(dir), &above) == nil && of.Dev != above.Dev
}

// mountCgroups makes it possible to bound commands: a fork bomb gets so many tasks and a share of the CPU, the agent the
// rest. It is "" when the kernel has no cgroup2.
func mountCgroups() string {
	if err := unix.Mount("cgroup2", cgroupRoot, "cgroup2", safe, ""); err != nil {
		logf("mount %s: %v", cgroupRoot, err)
		return ""
	}
	check("cgroup", os.WriteFile(filepath.Join(cgroupRoot, "cgroup.subtree_control"), []byte("+pids +cpu"), 0))
	return cgroupRoot
}
