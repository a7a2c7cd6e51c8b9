package probe

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Least amounts for a lab of two guests of 512 MiB, in bytes.
const (
	leastMemory = 1 << 30
	leastShm    = 1 << 30
	leastDisk   = 256 << 20
)

func askMemory(context.Context, Options) (bool, string) {
	free := meminfoBytes("MemAvailable")
	return free >= leastMemory, fmt.Sprintf("%s available of %s", mib(free), mib(meminfoBytes("MemTotal")))
}

// askShm makes and grows a memfd: guests' RAM is one, shared with our devices, and counts against free memory rather than
// against the size of the /dev/shm mount.
func askShm(context.Context, Options) (bool, string) {
	fd, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return false, fmt.Sprintf("memfd_create: %v", err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, leastShm); err != nil {
		return false, fmt.Sprintf("memfd of %s: %v", mib(leastShm), err)
	}
	evidence := "memfd of " + mib(leastShm)
	if free, total, err := space("/dev/shm"); err == nil {
		evidence += fmt.Sprintf("; /dev/shm %s free of %s", mib(free), mib(total))
	}
	return true, evidence
}

func askDisk(_ context.Context, o Options) (bool, string) {
	dir := o.Disk
	if dir == "" {
		dir = os.TempDir()
	}
	free, total, err := space(dir)
	if err != nil {
		return false, err.Error()
	}
	return free >= leastDisk, fmt.Sprintf("%s: %s free of %s", dir, mib(free), mib(total))
}

func askCPUs(context.Context, Options) (bool, string) {
	return runtime.NumCPU() > 0, fmt.Sprintf("%d usable, %s", runtime.NumCPU(), firstValue("/proc/cpuinfo", "model name"))
}

// askNesting tells whether this is a machine inside a machine; it is information, never a no.
func askNesting(context.Context, Options) (bool, string) {
	level, evidence := NestingLevel()
	return true, fmt.Sprintf("level %d: %s", level, evidence)
}

// NestingLevel is 0 on hardware and under a hypervisor that runs code natively, 1 inside a machine that QEMU emulates in
// software, where everything is about ten times slower.
func NestingLevel() (int, string) {
	vendor, _ := os.ReadFile("/sys/class/dmi/id/sys_vendor")
	return nesting(firstValue("/proc/cpuinfo", "model name"), firstValue("/proc/cpuinfo", "flags"), strings.TrimSpace(string(vendor)))
}

// nesting goes by the CPU's name: KVM shows the real one unless told otherwise, emulation cannot. A KVM guest with QEMU's
// default CPU is taken for an emulated one, which costs it nothing but patience.
func nesting(model, flags, vendor string) (int, string) {
	switch {
	case strings.Contains(model, "TCG") || strings.Contains(model, "QEMU"):
		return 1, "the CPU is QEMU's own, " + model
	case strings.Contains(" "+flags+" ", " hypervisor "):
		return 0, strings.TrimSpace("a virtual machine that runs code natively " + vendor)
	}
	return 0, "no hypervisor seen"
}

func space(dir string) (free, total uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, fmt.Errorf("ask for free space of %s: %w", dir, err)
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), nil
}

func meminfo(key string) string { return key + " " + firstValue("/proc/meminfo", key) }

// meminfoBytes is a value of /proc/meminfo, which counts in KiB; 0 when it is not there.
func meminfoBytes(key string) uint64 {
	n, _ := strconv.ParseUint(strings.TrimSuffix(firstValue("/proc/meminfo", key), " kB"), 10, 64)
	return n << 10
}

// firstValue finds the first "key : value" line of a file of the proc file system.
func firstValue(path, key string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func mib(n uint64) string { return strconv.FormatUint(n>>20, 10) + " MiB" }
