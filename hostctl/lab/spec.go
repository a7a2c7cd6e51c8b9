package lab

import (
	"net/netip"
	"slices"
	"strings"
)

// A Spec describes one lab. It is plain data: it encodes to JSON and YAML and back without loss.
type Spec struct {
	Name    string  `json:"name" yaml:"name"`
	Accel   string  `json:"accel,omitempty" yaml:"accel,omitempty"`     // "kvm", "tcg", "auto"; empty means auto
	Nesting int     `json:"nesting,omitempty" yaml:"nesting,omitempty"` // emulated machines around this one; scales timeouts
	Guests  []Guest `json:"guests" yaml:"guests"`
	Links   []Link  `json:"links,omitempty" yaml:"links,omitempty"`
}

// A Guest describes one virtual machine.
type Guest struct {
	Name        string   `json:"name" yaml:"name"`
	Image       string   `json:"image,omitempty" yaml:"image,omitempty"`           // image folder, relative to Env.Images; default "guest"
	Machine     string   `json:"machine,omitempty" yaml:"machine,omitempty"`       // "q35" (default) or "pc"
	CPUs        int      `json:"cpus,omitempty" yaml:"cpus,omitempty"`             // default 1
	MemoryMiB   int      `json:"memory_mib,omitempty" yaml:"memory_mib,omitempty"` // default 512
	CID         uint32   `json:"cid,omitempty" yaml:"cid,omitempty"`               // vsock context id; derived from lab and guest when 0
	NICs        []NIC    `json:"nics,omitempty" yaml:"nics,omitempty"`
	CommandLine []string `json:"command_line,omitempty" yaml:"command_line,omitempty"` // appended to the image's own
	SpareSlots  int      `json:"spare_slots,omitempty" yaml:"spare_slots,omitempty"`   // root ports for NICs plugged in at run time (q35)
	Boot        string   `json:"boot,omitempty" yaml:"boot,omitempty"`                 // see the constants; default BootImage
	SwapMiB     int      `json:"swap_mib,omitempty" yaml:"swap_mib,omitempty"`         // size of a disk to suspend to (S4); without one the guest cannot be suspended to RAM either, see bootable
	Extra       []string `json:"extra,omitempty" yaml:"extra,omitempty"`               // appended to QEMU's argv as is
}

// A NIC describes one network card of a guest.
type NIC struct {
	Model   string   `json:"model" yaml:"model"`                           // a QEMU device: virtio-net-pci, e1000, rtl8139, ...
	Options []string `json:"options,omitempty" yaml:"options,omitempty"`   // device properties, "name=value"
	Link    string   `json:"link,omitempty" yaml:"link,omitempty"`         // the link it is on
	Backend string   `json:"backend,omitempty" yaml:"backend,omitempty"`   // see the constants; default auto when Link is set
	Vhost   bool     `json:"vhost,omitempty" yaml:"vhost,omitempty"`       // vhost=on; needs /dev/vhost-net
	Queues  int      `json:"queues,omitempty" yaml:"queues,omitempty"`     // queue pairs; default 1
	MAC     string   `json:"mac,omitempty" yaml:"mac,omitempty"`           // derived from lab, guest and index when empty
	BootROM bool     `json:"boot_rom,omitempty" yaml:"boot_rom,omitempty"` // keep QEMU's ROM of the model, which boots from the network
}

// A Link describes one layer-2 segment: a bridge in the lab's network namespace that taps join, or, when its NICs have the
// backend vale or vhost-user, a switch of our own in this process. The NICs of a link are all on taps or all on the switch.
type Link struct {
	Name    string       `json:"name" yaml:"name"`
	Host    netip.Prefix `json:"host,omitzero" yaml:"host"`                  // the host's address on the link; guests are numbered from it
	MTU     int          `json:"mtu,omitempty" yaml:"mtu,omitempty"`         // of the host's ends, 68 to 65521; default 1500
	Capture bool         `json:"capture,omitempty" yaml:"capture,omitempty"` // record everything from Up to Down as links/NAME.pcapng
}

// Backends a NIC may have.
const (
	BackendAuto      = "auto"       // tap where one can be made, else vale
	BackendTap       = "tap"        // a tap of the kernel on the link's bridge; needs /dev/net/tun
	BackendVale      = "vale"       // the link's switch, by vhost-user for virtio and by a socket for other models; needs nothing
	BackendVhostUser = "vhost-user" // the link's switch, virtio only
	BackendUser      = "user"       // QEMU's own IP stack, on no link
)

// What a guest may boot.
const (
	BootImage = ""    // the kernel and segments of its image
	BootNet   = "net" // what its firmware and the boot ROMs of its NICs find: no image, no agent, no vsock; it waits for QMP's cont
)

// QEMU's machines that a guest may be.
const (
	MachineQ35 = "q35"
	MachinePC  = "pc"
)

// Accelerators a lab may run on.
const (
	AccelAuto = "auto"
	AccelKVM  = "kvm"
	AccelTCG  = "tcg"
)

// emulated says whether guests are slow: their processor is emulated, or that of a machine around them is.
func (s Spec) emulated() bool { return s.Accel == AccelTCG || s.Nesting > 0 }

// WithDefaults returns a copy of s with every default filled in, as Up runs it; an accelerator and backends of "auto" stay.
func (s Spec) WithDefaults() Spec {
	if s.Accel == "" {
		s.Accel = AccelAuto
	}
	s.Links = append([]Link(nil), s.Links...)
	for i := range s.Links {
		setDefault(&s.Links[i].MTU, 1500)
	}
	s.Guests = append([]Guest(nil), s.Guests...)
	for i := range s.Guests {
		s.Guests[i] = s.Guests[i].withDefaults(s.Name)
	}
	return s
}

// Bare says that the guest has no agent: nothing of ours runs in it.
func (g Guest) Bare() bool { return g.Boot == BootNet }

func (g Guest) withDefaults(lab string) Guest {
	if !g.Bare() {
		setDefault(&g.Image, "guest")
	}
	setDefault(&g.Machine, MachineQ35)
	setDefault(&g.CPUs, 1)
	setDefault(&g.MemoryMiB, 512)
	setDefault(&g.CID, cid(lab, g.Name))
	g.NICs = append([]NIC(nil), g.NICs...)
	for i := range g.NICs {
		g.NICs[i] = g.NICs[i].withDefaults(lab, g.Name, i)
	}
	return g
}

func (n NIC) withDefaults(lab, guest string, index int) NIC {
	if n.Link != "" {
		setDefault(&n.Backend, BackendAuto)
	}
	setDefault(&n.Queues, 1)
	setDefault(&n.MAC, MAC(lab, guest, index))
	return n
}

// withBackends settles the backends that are auto, a link at a time: as the others of the link have it, for the kernel's
// vhost a tap, and else a tap if there can be one.
func (s Spec) withBackends(tap bool) Spec {
	s.Guests = append([]Guest(nil), s.Guests...)
	for i, g := range s.Guests {
		s.Guests[i].NICs = append([]NIC(nil), g.NICs...)
		for j, n := range g.NICs {
			switch {
			case n.Backend != BackendAuto:
			case s.switched(n.Link) || !tap && !s.tapped(n.Link):
				s.Guests[i].NICs[j].Backend = BackendVale
			default:
				s.Guests[i].NICs[j].Backend = BackendTap
			}
		}
	}
	return s
}

// tapped says whether a link's NICs need taps.
func (s Spec) tapped(link string) bool {
	return s.some(func(n NIC) bool { return n.Link == link && (n.Backend == BackendTap || n.Vhost) })
}

// switched says whether a link is a switch: its NICs decide.
func (s Spec) switched(link string) bool {
	return s.some(func(n NIC) bool { return n.Link == link && n.switched() })
}

// some says whether a NIC is such.
func (s Spec) some(such func(NIC) bool) bool {
	return slices.ContainsFunc(s.Guests, func(g Guest) bool { return slices.ContainsFunc(g.NICs, such) })
}

// switched says whether the NIC is on a switch of ours.
func (n NIC) switched() bool { return n.Backend == BackendVale || n.Backend == BackendVhostUser }

// vhostUser says whether the NIC's rings are served by our switch, instead of frames passing through a socket.
func (n NIC) vhostUser() bool { return n.switched() && isVirtio(n.Model) }

func isVirtio(model string) bool { return strings.HasPrefix(model, "virtio-net") }

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}
