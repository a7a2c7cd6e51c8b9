// Package probe finds out what this machine can do by doing it, never by looking for a file: a device node can exist and
// not work, a module can be listed and not load. Each answer carries the evidence and, when it is no, the remedy.
//
// The names are the vocabulary of catalogue cases' needs. All probes run inside a lab's sandbox, since that is where their
// answers are used; what they make vanishes with it.
package probe

import (
	"context"
	"slices"
	"sync"
)

// A Probe is one question and its answer.
type Probe struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Optional bool   `json:"optional,omitempty"` // labs work without it; some cases are skipped
	Evidence string `json:"evidence"`
	Remedy   string `json:"remedy,omitempty"` // only when not OK
}

// The names of the probes.
const (
	Sandbox    = "sandbox"     // namespaces can be made and a host image entered
	Tap        = "root.tap"    // TUNSETIFF works
	Vale       = "vale"        // our own switch and the host's side of it
	QEMU       = "qemu"        // the host image's QEMU runs and has the devices labs need
	KVM        = "kvm"         // a guest runs under it
	VhostNet   = "vhost_net"   // /dev/vhost-net accepts an owner
	VhostVsock = "vhost_vsock" // /dev/vhost-vsock accepts an owner
	Hugepages  = "hugepages"   // a page maps and can be written
	Netmap     = "netmap"      // /dev/netmap answers
	VFIO       = "vfio"        // /dev/vfio/vfio has an IOMMU type
	Memory     = "memory"      // enough free for a lab
	Shm        = "shm"         // shared memory for guests' RAM
	Disk       = "disk"        // enough room for evidence
	CPUs       = "cpus"        // at least one
	Nesting    = "nesting"     // how many machines are around this one
	HostVM     = "host.vm"     // the host image boots as a VM
	HostMetal  = "host.metal"  // a lab PC that runs the host image
)

// Options say where to look.
type Options struct {
	Cache string // folder that keeps the KVM answer; "" asks anew
	Disk  string // folder whose free space counts; default /tmp
}

// asker is one probe's function.
type asker struct {
	name     string
	optional bool
	remedy   string
	ask      func(context.Context, Options) (ok bool, evidence string)
}

// askers are in the order of reports.
var askers = []asker{
	{Tap, true, "load the tun module and give this user /dev/net/tun, or run as root; without it labs run on backend vale", askTap},
	{Vale, true, "allow network namespaces and veth pairs, or give this user /dev/net/tun", askVale},
	{QEMU, false, "build the host image: labimage build host", askQEMU},
	{KVM, true, "enable virtualization in the firmware, load kvm_intel or kvm_amd, or enable nesting outside; without it guests run about ten times slower (tcg)", askKVM},
	{VhostNet, true, "modprobe vhost_net on the machine, or use the host image as a VM", askVhostNet},
	{VhostVsock, true, "none needed: our own vhost-user-vsock device takes its place", askVhostVsock},
	{Hugepages, true, "echo 64 > /proc/sys/vm/nr_hugepages", askHugepages},
	{Netmap, true, "none needed: the built-in switch takes its place", askNetmap},
	{VFIO, true, "boot with intel_iommu=on or amd_iommu=on and load vfio-pci", askVFIO},
	{Memory, false, "free 1 GiB", askMemory},
	{Shm, false, "grow /dev/shm or free memory", askShm},
	{Disk, false, "free 256 MiB for evidence", askDisk},
	{CPUs, false, "", askCPUs},
	{Nesting, true, "", askNesting},
}

// Names are all probes' names, in the order of reports.
func Names() []string {
	names := []string{Sandbox}
	for _, a := range askers {
		names = append(names, a.name)
	}
	return names
}

// All asks everything side by side and answers in a fixed order. It never fails: a question that cannot be asked has the
// answer no.
func All(ctx context.Context, o Options) []Probe {
	return ask(ctx, o, askers)
}

// Some asks only the probes named, in the order of reports.
func Some(ctx context.Context, o Options, names ...string) []Probe {
	var some []asker
	for _, a := range askers {
		if slices.Contains(names, a.name) {
			some = append(some, a)
		}
	}
	return ask(ctx, o, some)
}

func ask(ctx context.Context, o Options, list []asker) []Probe {
	answers := make([]Probe, len(list))
	var group sync.WaitGroup
	for i, a := range list {
		group.Go(func() { answers[i] = a.answer(ctx, o) })
	}
	group.Wait()
	return answers
}

func (a asker) answer(ctx context.Context, o Options) Probe {
	p := Probe{Name: a.name, Optional: a.optional}
	if p.OK, p.Evidence = a.ask(ctx, o); !p.OK {
		p.Remedy = a.remedy
	}
	return p
}
