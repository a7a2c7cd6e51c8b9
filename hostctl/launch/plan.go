package launch

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"

	"picolab/hostctl/internal/qemu"
)

// Memory of machines that are given none, MiB.
const (
	guestMemory = 512
	hostMemory  = 1536 // unpacks its initial RAM disk and runs QEMU inside
)

// paths are what a machine's command line names.
type paths struct {
	kernel, initrd string
	sockets        string // folder with the switches' sockets
}

// plan makes the configuration of QEMU from data alone: the same options, image and paths give the same command line.
func plan(o Options, b bootable, v qemu.Vsock, p paths) qemu.Config {
	c := qemu.Config{
		Name: name(o), Accel: "tcg", CPUs: o.CPUs, MemoryMiB: o.Memory, Kernel: p.kernel, Initrd: p.initrd, Disks: b.disks, Vsock: v,
		// The terminal is console and monitor at once; Ctrl-C is for the machine.
		Extra: []string{"-chardev", "stdio,id=console,mux=on,signal=off", "-serial", "chardev:console", "-mon", "chardev=console,mode=readline"},
	}
	c.CommandLine = []string{"console=ttyS0"}
	if o.KVM {
		c.Accel = "kvm"
	} else {
		c.CommandLine = append(c.CommandLine, "no_timer_check") // see lab's
	}
	c.CommandLine = append(append(c.CommandLine, b.words...), b.arguments...)
	if b.host && !o.KVM {
		c.CPU = qemu.SVMCPU
	}
	if c.MemoryMiB == 0 {
		c.MemoryMiB = guestMemory
		if b.host {
			c.MemoryMiB = hostMemory
		}
	}
	if o.Shell && !o.Wait && !b.host { // a host image has its consoles
		c.CommandLine = append(c.CommandLine, "picolab.shell=1")
	}
	c.CommandLine = append(c.CommandLine, strings.Fields(o.Append)...)
	for i, card := range o.Cards {
		c.NICs = append(c.NICs, nic(fmt.Sprintf("nic%d", i), card, p.sockets))
	}
	return c
}

// name is what the machine is called: by its first card.
func name(o Options) string {
	if len(o.Cards) == 0 {
		return "launch"
	}
	return "launch-" + strings.Trim(strings.ReplaceAll(o.Cards[0].Backend+o.Cards[0].Index, "/", "-"), "-")
}

func nic(id string, c Card, sockets string) qemu.NIC {
	n := qemu.NIC{ID: id, Model: c.Model, MAC: mac(c), Options: c.Properties, Vhost: c.Vhost}
	switch c.Backend {
	case "tap":
		n.Backend, n.Tap = "tap", "tap"+c.Index
	case "netuser":
		n.Backend = "user"
	default:
		n.Backend, n.Socket = "vhost-user", socket(c, sockets)
		if !strings.HasPrefix(c.Model, "virtio-net") {
			n.Backend = "stream"
		}
	}
	return n
}

// socket is where the switch of a card listens, "" for cards without one. A port of a VALE switch has two: vhost-user for
// virtio cards, a stream of frames with their lengths, QEMU's netdev stream, for all others.
func socket(c Card, dir string) string {
	switch {
	case c.Backend == "vhost-user" && strings.Contains(c.Index, "/"):
		return c.Index
	case c.Backend == "vhost-user":
		return dir + "/vhost-user/" + c.Index + ".sock"
	case c.Backend == "vale" && strings.HasPrefix(c.Model, "virtio-net"):
		return dir + "/vale/vale0:" + c.Index + ".sock"
	case c.Backend == "vale":
		return dir + "/vale/vale0:" + c.Index + ".stream"
	}
	return ""
}

// mac makes the addresses of machines on one switch differ: they have different indices.
func mac(c Card) string {
	h := sha256.Sum256(fmt.Appendf(nil, "launch-qemu %s %s", c.Backend, c.Index))
	return fmt.Sprintf("52:54:00:%02x:%02x:%02x", h[0], h[1], h[2])
}

// cid is a vsock context id: the kernel has one space of them for the whole machine.
func cid(token string) uint32 {
	h := sha256.Sum256([]byte(token))
	return 1<<16 + binary.BigEndian.Uint32(h[:])>>8
}
