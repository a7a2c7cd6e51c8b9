package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"picolab/hostctl/internal/netdev"
	"picolab/hostctl/internal/qemu"
)

// ioctl numbers of Linux's UAPI, x86-64.
const (
	vhostSetOwner   = 0xaf01     // linux/vhost.h: _IO(VHOST_VIRTIO, 0x01)
	netmapCtrl      = 0xc0586997 // net/netmap.h: _IOWR('i', 151, struct nmreq_header)
	vfioVersion     = 0x3b64     // linux/vfio.h: VFIO_GET_API_VERSION, _IO(';', 100 + 0)
	hugepageBytes   = 2 << 20
	netmapReqLength = 88
)

func askTap(context.Context, Options) (bool, string) { return netdev.ProbeTap() }

// needed are the devices and back-ends every lab relies on.
var (
	neededDevices = []string{"virtio-net-pci", "vhost-user-vsock-pci", "pvpanic-pci"}
	neededNetdevs = []string{"tap", "user"}
)

func askQEMU(ctx context.Context, _ Options) (bool, string) {
	c, err := qemu.Probe(ctx)
	if err != nil {
		return false, err.Error()
	}
	var missing []string
	for _, d := range neededDevices {
		if !c.HasDevice(d) {
			missing = append(missing, "device "+d)
		}
	}
	for _, d := range neededNetdevs {
		if !c.HasNetdev(d) {
			missing = append(missing, "netdev "+d)
		}
	}
	if len(missing) > 0 {
		return false, c.VersionText + " lacks " + strings.Join(missing, ", ")
	}
	return true, fmt.Sprintf("%s, %d devices, netdevs %s", c.VersionText, len(c.Devices), strings.Join(c.Netdevs, " "))
}

func askVhostNet(context.Context, Options) (bool, string)   { return ownVhost("/dev/vhost-net") }
func askVhostVsock(context.Context, Options) (bool, string) { return ownVhost("/dev/vhost-vsock") }

// ownVhost opens a vhost device and becomes its owner, as QEMU does first of all.
func ownVhost(path string) (bool, string) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false, err.Error()
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), vhostSetOwner, 0); err != nil {
		return false, fmt.Sprintf("%s: VHOST_SET_OWNER: %v", path, err)
	}
	return true, path + ": VHOST_SET_OWNER succeeded"
}

// VhostVsockWorks says whether the kernel's vsock device can be had.
func VhostVsockWorks() bool {
	ok, _ := ownVhost("/dev/vhost-vsock")
	return ok
}

// askHugepages maps one page of 2 MiB without reserving ahead and touches it.
func askHugepages(context.Context, Options) (bool, string) {
	p, err := unix.Mmap(-1, 0, hugepageBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_HUGETLB)
	if err != nil {
		return false, fmt.Sprintf("map one page of 2 MiB: %v; %s", err, meminfo("HugePages_Total"))
	}
	defer unix.Munmap(p)
	p[0] = 1
	return true, fmt.Sprintf("mapped and touched one page of 2 MiB; %s", meminfo("HugePages_Total"))
}

// askNetmap sends an empty request: a netmap driver refuses its contents with EINVAL, anything else does not know the call.
func askNetmap(context.Context, Options) (bool, string) {
	f, err := os.OpenFile("/dev/netmap", os.O_RDWR, 0)
	if err != nil {
		return false, err.Error()
	}
	defer f.Close()
	err = ioctlBuffer(f, netmapCtrl, make([]byte, netmapReqLength))
	if err == nil || errors.Is(err, unix.EINVAL) {
		return true, "/dev/netmap: NIOCCTRL answered"
	}
	return false, fmt.Sprintf("/dev/netmap: NIOCCTRL: %v", err)
}

func askVFIO(context.Context, Options) (bool, string) {
	f, err := os.OpenFile("/dev/vfio/vfio", os.O_RDWR, 0)
	if err != nil {
		return false, err.Error()
	}
	defer f.Close()
	n, err := unix.IoctlRetInt(int(f.Fd()), vfioVersion)
	if err != nil {
		return false, fmt.Sprintf("/dev/vfio/vfio: VFIO_GET_API_VERSION: %v", err)
	}
	groups, _ := os.ReadDir("/sys/kernel/iommu_groups")
	return len(groups) > 0, fmt.Sprintf("/dev/vfio/vfio: API version %d, %d IOMMU groups", n, len(groups))
}
