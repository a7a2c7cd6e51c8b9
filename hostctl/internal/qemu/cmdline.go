package qemu

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// DefaultBinary is looked up in PATH.
const DefaultBinary = "qemu-system-x86_64"

// seccomp leaves QEMU only what a guest without passthrough and helper programs needs.
const seccomp = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

// argv collects arguments; sub-option values go through esc.
type argv []string

func (a *argv) add(args ...string) { *a = append(*a, args...) }

func (a *argv) addf(option, format string, args ...any) { a.add(option, fmt.Sprintf(format, args...)) }

// esc doubles commas, the separator of QEMU's option lists.
func esc(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// Cmdline is the argument vector after the program's name. It is pure: same Config, same arguments.
func Cmdline(c Config) ([]string, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("qemu command line of %s: %w", c.Name, err)
	}
	var a argv
	c.addBase(&a)
	c.addBoot(&a)
	c.addSockets(&a)
	c.addDisks(&a)
	c.addSpareSlots(&a)
	c.addVsock(&a)
	for i, n := range c.NICs {
		c.addNIC(&a, i, n)
	}
	a.add(c.Extra...)
	return a, nil
}

func (c Config) withDefaults() Config {
	c.Binary = or(c.Binary, DefaultBinary)
	c.Name = or(c.Name, "guest")
	c.Machine = or(c.Machine, "q35")
	c.RTC = or(c.RTC, "base=utc,clock=host")
	if c.CPU == "" && c.Accel == "kvm" {
		c.CPU = "host"
	}
	if c.CPU == "" {
		// Without RDRAND the kernel's random number generator is not ready for a minute, and getrandom(2) waits for it.
		c.CPU = "qemu64,+rdrand"
	}
	if c.CPUs == 0 {
		c.CPUs = 1
	}
	if c.MemoryMiB == 0 {
		c.MemoryMiB = 256
	}
	c.SharedMemory = c.SharedMemory || c.Vsock.Kind == "vhost-user"
	for _, n := range c.NICs {
		c.SharedMemory = c.SharedMemory || n.Backend == "vhost-user"
	}
	return c
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

func (c Config) validate() error {
	switch {
	case c.Machine != "q35" && c.Machine != "pc":
		return fmt.Errorf("machine %q is neither q35 nor pc", c.Machine)
	case c.Accel != "kvm" && c.Accel != "tcg":
		return fmt.Errorf("accelerator %q is neither kvm nor tcg", c.Accel)
	case c.CPUs < 1 || c.MemoryMiB < 1 || c.SpareSlots < 0:
		return errors.New("a count is negative")
	}
	ids := map[string]bool{}
	for _, n := range c.NICs {
		if ids[n.ID] {
			return fmt.Errorf("two NICs have the id %q", n.ID)
		}
		ids[n.ID] = true
		if err := c.validateNIC(n); err != nil {
			return fmt.Errorf("nic %q: %w", n.ID, err)
		}
	}
	return c.Vsock.validate()
}

func (v Vsock) validate() error {
	switch {
	case v.Kind == "":
	case v.Kind == "vhost-user" && v.Socket == "":
		return errors.New("vhost-user vsock without a socket")
	case v.Kind == "kernel" && v.CID < 3:
		return fmt.Errorf("vsock CID %d: guests start at 3 (vsock(7))", v.CID)
	case v.Kind != "vhost-user" && v.Kind != "kernel":
		return fmt.Errorf("vsock kind %q is neither vhost-user nor kernel", v.Kind)
	}
	return nil
}

func (c Config) addBase(a *argv) {
	a.addf("-name", "guest=%s,debug-threads=on", esc(c.Name))
	a.add("-nodefaults", "-no-user-config")
	if !c.NoSeccomp {
		a.add("-sandbox", seccomp)
	}
	a.add("-display", "none")
	machine := c.Machine
	if c.SharedMemory {
		a.addf("-object", "memory-backend-memfd,id=mem,size=%dM,share=on", c.MemoryMiB)
		machine += ",memory-backend=mem"
	}
	if c.FirmwareConsole {
		machine += ",graphics=off"
	}
	a.add("-machine", machine)
	if c.Accel == "tcg" {
		a.add("-accel", "tcg,thread=multi")
	} else {
		a.add("-accel", "kvm")
	}
	if c.CPU != "" {
		a.add("-cpu", c.CPU)
	}
	a.add("-smp", strconv.Itoa(c.CPUs), "-m", strconv.Itoa(c.MemoryMiB)+"M", "-rtc", c.RTC)
	for _, dir := range c.Firmware {
		a.add("-L", dir)
	}
}

func (c Config) addBoot(a *argv) {
	if c.Kernel != "" {
		a.add("-kernel", c.Kernel)
		if c.Initrd != "" {
			a.add("-initrd", c.Initrd)
		}
		if len(c.CommandLine) > 0 {
			a.add("-append", strings.Join(c.CommandLine, " "))
		}
	}
	for _, f := range []struct {
		on   bool
		flag string
	}{{c.Paused, "-S"}, {c.NoShutdown, "-no-shutdown"}, {c.NoReboot, "-no-reboot"}} {
		if f.on {
			a.add(f.flag)
		}
	}
	// A panicked guest is kept for its console and its state; without pvpanic it would just reset.
	a.add("-device", "pvpanic-pci", "-action", "panic=pause")
}

func (c Config) addSockets(a *argv) {
	if c.QMPSocket != "" {
		a.addf("-chardev", "socket,id=qmp,path=%s,server=on,wait=off", esc(c.QMPSocket))
		a.add("-mon", "chardev=qmp,mode=control")
	}
	switch {
	case c.ConsoleSocket != "":
		log := ""
		if c.ConsoleFile != "" {
			log = ",logfile=" + esc(c.ConsoleFile) + ",logappend=on"
		}
		a.addf("-chardev", "socket,id=console,path=%s,server=on,wait=off%s", esc(c.ConsoleSocket), log)
		a.add("-serial", "chardev:console")
	case c.ConsoleFile != "":
		a.addf("-chardev", "file,id=console,path=%s,append=on", esc(c.ConsoleFile))
		a.add("-serial", "chardev:console")
	}
}

func (c Config) addDisks(a *argv) {
	for _, d := range c.Disks {
		driver := "file"
		if d.Device {
			driver = "host_device"
		}
		a.addf("-blockdev", "driver=raw,node-name=%s,read-only=%s,file.driver=%s,file.filename=%s", d.ID, onOff(d.ReadOnly), driver, esc(d.File))
		a.addf("-device", "virtio-blk-pci,id=%s.dev,drive=%s", d.ID, d.ID)
	}
}

func (c Config) addVsock(a *argv) {
	switch c.Vsock.Kind {
	case "vhost-user":
		a.addf("-chardev", "socket,id=%s,path=%s", VsockChardev, esc(c.Vsock.Socket))
		a.addf("-device", "vhost-user-vsock-pci,id=%s,chardev=%s", VsockID, VsockChardev)
	case "kernel":
		a.addf("-device", "vhost-vsock-pci,id=%s,guest-cid=%d", VsockID, c.Vsock.CID)
	}
}

func (c Config) addSpareSlots(a *argv) {
	if c.Machine != "q35" {
		return
	}
	for i := range c.SpareSlots {
		a.addf("-device", "pcie-root-port,id=slot%d,bus=pcie.0,chassis=%d,slot=%d", i, i+1, i+1)
	}
}

// HotplugBus is the bus for device_add of the nth hot-plugged device (from 0): one of the spare root ports of q35, or
// the only bus of pc. It is "" when q35 has no such slot.
func HotplugBus(c Config, n int) string {
	switch {
	case c.Machine == "pc":
		return "pci.0"
	case n < c.SpareSlots:
		return fmt.Sprintf("slot%d", n)
	}
	return ""
}
