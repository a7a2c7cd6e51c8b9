package lab

import (
	"fmt"
	"slices"

	"picolab/hostctl/internal/qemu"
	"picolab/images/manifest"
)

// files are the paths a guest's QEMU is told of.
type files struct {
	kernel, initrd, qmp, consoleSocket, consoleLog, swap string
}

// config makes the guest's QEMU configuration from data alone: the same spec, image and files give the same argv. Neither
// clock nor randomness enters it; the boot token travels inside the initrd.
func config(lab string, g Guest, accel string, m *manifest.Manifest, vsock qemu.Vsock, ends []string, f files) qemu.Config {
	c := qemu.Config{
		Name:          lab + "-" + g.Name,
		Machine:       g.Machine,
		Accel:         accel,
		CPUs:          g.CPUs,
		MemoryMiB:     g.MemoryMiB,
		Kernel:        f.kernel,
		Initrd:        f.initrd,
		Vsock:         vsock,
		SpareSlots:    g.SpareSlots,
		QMPSocket:     f.qmp,
		ConsoleSocket: f.consoleSocket,
		ConsoleFile:   f.consoleLog,
		Extra:         g.Extra,
	}
	if g.Bare() {
		c.FirmwareConsole, c.Paused = true, true
	} else {
		boot(&c, g, m)
	}
	if f.swap != "" {
		c.Disks = append(c.Disks, qemu.Disk{ID: "swap", File: f.swap})
	}
	for i, n := range g.NICs {
		c.NICs = append(c.NICs, nicConfig(i, n, ends[i]))
	}
	return c
}

// boot has the guest's kernel do what our images are made for.
func boot(c *qemu.Config, g Guest, m *manifest.Manifest) {
	c.CommandLine = append(c.CommandLine, "console=ttyS0")
	if c.Accel == AccelTCG {
		// The kernel measures the timer against the CPU and panics ("IO-APIC + timer doesn't work!") when a busy machine
		// has starved QEMU of time at that moment.
		c.CommandLine = append(c.CommandLine, "no_timer_check")
	}
	c.CommandLine = append(c.CommandLine, m.CommandLine...)
	if m.Kind == manifest.KindHost {
		appliance(c, m)
	}
	c.CommandLine = append(c.CommandLine, g.CommandLine...)
}

// nicConfig is QEMU's side of a NIC. On a switch QEMU connects to us: the switch is there first, and stays.
func nicConfig(i int, n NIC, end string) qemu.NIC {
	c := qemu.NIC{ID: deviceID(i), Model: n.Model, MAC: n.MAC, Options: n.Options, Backend: n.Backend, Vhost: n.Vhost, Queues: n.Queues, BootROM: n.BootROM}
	if n.BootROM {
		c.Options = append(slices.Clone(n.Options), fmt.Sprintf("bootindex=%d", i))
	}
	switch {
	case n.vhostUser():
		c.Backend, c.Socket = "vhost-user", end
	case n.switched():
		c.Backend, c.Socket = "stream", end
	case n.Backend == BackendTap:
		c.Tap = end
	}
	return c
}

// rootArgument is the kernel argument that names the device on which a host image's initramfs finds its root file system.
const rootArgument = "picolab.root="

// appliance adds what a host image needs to be a whole machine: its root file system as a disk, and virtualization.
func appliance(c *qemu.Config, m *manifest.Manifest) {
	if c.Accel == AccelTCG {
		c.CPU = qemu.SVMCPU
	}
	if root := m.RootFile(); root != "" {
		c.Disks = append(c.Disks, qemu.Disk{ID: "root", File: root, ReadOnly: true})
		c.CommandLine = append(c.CommandLine, rootArgument+"/dev/vda")
	}
}
