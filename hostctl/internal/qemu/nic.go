package qemu

import (
	"errors"
	"fmt"
	"strings"
)

// NetdevID is the id of the netdev of a NIC. QMP's set_link takes it as well as the NIC's own.
func NetdevID(nic string) string { return nic + ".net" }

func (c Config) validateNIC(n NIC) error {
	switch {
	case n.ID == "" || n.Model == "":
		return errors.New("id or model is missing")
	case n.Model == "igb" && c.Machine != "q35":
		return errors.New("igb is a PCI Express device and needs machine q35")
	case n.Backend == "tap" && n.Tap == "":
		return errors.New("tap back-end without an interface name")
	case (n.Backend == "vhost-user" || n.Backend == "stream") && n.Socket == "":
		return fmt.Errorf("%s back-end without a socket", n.Backend)
	case n.Vhost && n.Backend != "tap":
		return fmt.Errorf("vhost=on with back-end %q", n.Backend)
	case n.Queues > 1 && (n.Backend == "user" || n.Backend == "stream"):
		return fmt.Errorf("back-end %s has one queue", n.Backend)
	}
	switch n.Backend {
	case "tap", "user", "vhost-user", "stream", "none":
		return nil
	}
	return fmt.Errorf("unknown back-end %q", n.Backend)
}

func (c Config) addNIC(a *argv, index int, n NIC) {
	netdev, chardev := NetdevArgs(n)
	if chardev != "" {
		a.add("-chardev", chardev)
	}
	if netdev != "" {
		a.add("-netdev", netdev)
	}
	bus := n.Bus
	if bus == "" && n.Model == "igb" {
		// Its virtual functions need bus numbers of their own, which a device on the root bus does not get.
		bus = n.ID + ".port"
		a.addf("-device", "pcie-root-port,id=%s,bus=pcie.0,chassis=%d,slot=%d", bus, c.SpareSlots+index+1, c.SpareSlots+index+1)
	}
	a.add("-device", c.device(n, bus))
}

// NetdevArgs are the values of -netdev and, for vhost-user, -chardev.
func NetdevArgs(n NIC) (netdev, chardev string) {
	id := "id=" + NetdevID(n.ID)
	var parts []string
	switch n.Backend {
	case "none":
		return "", ""
	case "tap":
		parts = []string{"tap", id, "ifname=" + esc(n.Tap), "script=no", "downscript=no"}
		if n.Vhost {
			parts = append(parts, "vhost=on")
		}
	case "user":
		parts = []string{"user", id}
	case "stream":
		parts = []string{"stream", id, "server=" + onOff(n.Server), "addr.type=unix", "addr.path=" + esc(n.Socket)}
	case "vhost-user":
		sock := n.ID + ".sock"
		chardev = fmt.Sprintf("socket,id=%s,path=%s", sock, esc(n.Socket))
		if n.Server {
			chardev += ",server=on"
		}
		parts = []string{"vhost-user", id, "chardev=" + sock}
	}
	if n.Queues > 1 {
		parts = append(parts, fmt.Sprintf("queues=%d", n.Queues))
	}
	return strings.Join(append(parts, n.BackendOpts...), ","), chardev
}

// device is the value of -device. The card's own options come last but for none: QEMU lets a later one win.
func (c Config) device(n NIC, bus string) string {
	parts := []string{n.Model, "id=" + n.ID}
	if n.Backend != "none" {
		parts = append(parts, "netdev="+NetdevID(n.ID))
	}
	for _, o := range [][2]string{{"mac", n.MAC}, {"bus", bus}, {"addr", n.Addr}} {
		if o[1] != "" {
			parts = append(parts, o[0]+"="+o[1])
		}
	}
	if !n.BootROM {
		parts = append(parts, "romfile=")
	}
	many := n.Queues > 1 && isVirtio(n.Model)
	if many {
		parts = append(parts, "mq=on")
	}
	switch {
	case noVectors(c, n):
		parts = append(parts, "vectors=0")
	case many:
		// Two interrupts a queue pair, one for the control queue, one for configuration changes.
		parts = append(parts, fmt.Sprintf("vectors=%d", 2*n.Queues+2))
	}
	return strings.Join(append(parts, n.Options...), ",")
}

func isVirtio(model string) bool { return strings.HasPrefix(model, "virtio-net") }

// noVectors: QEMU 7.2 under TCG crashes (a null vector_irqfd in kvm_virtio_pci_irqfd_use) when a vhost-user NIC with MSI-X
// starts, because virtio-pci asks only whether the device class has a notifier mask and not whether this device uses it.
// 10.0 asks both. Versions between are untested and get the same: all it costs is a shared interrupt. vhost-user-vsock
// does not need it.
func noVectors(c Config, n NIC) bool {
	return c.Accel == "tcg" && n.Backend == "vhost-user" && isVirtio(n.Model) && !c.Version.AtLeast(10, 0)
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}
