package lab

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"

	"picolab/hostctl/internal/netdev"
)

// Limits of a spec.
const (
	maxGuests    = 32
	maxLinks     = 16
	maxNICs      = 8
	maxQueues    = 16
	minMTU       = netdev.MinMTU
	maxMTU       = netdev.MaxTapMTU // what every host can make
	minMemoryMiB = 128
	maxMemoryMiB = 64 << 10
	maxSwapMiB   = 64 << 10
)

var (
	namePattern  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,30}$`)
	modelPattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$`)
)

// problems collects what is wrong with a spec, each with the path of its field.
type problems []string

func (p *problems) add(path, format string, args ...any) {
	*p = append(*p, path+": "+fmt.Sprintf(format, args...))
}

// check adds the problem unless ok.
func (p *problems) check(ok bool, path, format string, args ...any) {
	if !ok {
		p.add(path, format, args...)
	}
}

// Validate looks at every field, defaults filled in first, and returns nil or a *SpecError that lists all problems.
func (s Spec) Validate() error {
	s = s.WithDefaults()
	var p problems
	p.checkName("name", s.Name)
	p.check(slices.Contains([]string{AccelAuto, AccelKVM, AccelTCG}, s.Accel), "accel", "%q is none of auto, kvm, tcg", s.Accel)
	p.check(s.Nesting >= 0 && s.Nesting <= 3, "nesting", "%d is not between 0 and 3", s.Nesting)
	p.check(len(s.Guests) <= maxGuests, "guests", "%d are more than %d", len(s.Guests), maxGuests)
	p.check(len(s.Links) <= maxLinks, "links", "%d are more than %d", len(s.Links), maxLinks)
	p.checkUnique(s)
	for i, l := range s.Links {
		p.checkLink(fmt.Sprintf("links[%d]", i), l)
	}
	for i, g := range s.Guests {
		p.checkGuest(fmt.Sprintf("guests[%d]", i), g, s)
	}
	if len(p) > 0 {
		return &SpecError{Problems: p}
	}
	return nil
}

func (p *problems) checkName(path, name string) {
	p.check(namePattern.MatchString(name), path, "%q is not 1 to 31 characters of a-z, 0-9 and '-'", name)
}

// checkUnique looks for names, context ids and addresses that are given twice.
func (p *problems) checkUnique(s Spec) {
	names, cids, macs, links := seen{}, seen{}, seen{}, seen{}
	for i, l := range s.Links {
		p.checkFirst(links, fmt.Sprintf("links[%d].name", i), l.Name)
	}
	for i, g := range s.Guests {
		path := fmt.Sprintf("guests[%d]", i)
		p.checkFirst(names, path+".name", g.Name)
		p.checkFirst(cids, path+".cid", fmt.Sprint(g.CID))
		for j, n := range g.NICs {
			p.checkFirst(macs, fmt.Sprintf("%s.nics[%d].mac", path, j), strings.ToLower(n.MAC))
		}
	}
}

// seen maps a value to the field that had it first.
type seen map[string]string

func (p *problems) checkFirst(values seen, path, value string) {
	if first, dup := values[value]; dup {
		p.add(path, "%q is taken by %s", value, first)
		return
	}
	values[value] = path
}

func (p *problems) checkLink(path string, l Link) {
	p.checkName(path+".name", l.Name)
	p.check(l.MTU >= minMTU && l.MTU <= maxMTU, path+".mtu", "%d is not between %d and %d", l.MTU, minMTU, maxMTU)
	if l.Host.IsValid() {
		p.check(l.Host.Addr() != l.Host.Masked().Addr() || l.Host.IsSingleIP(), path+".host", "%v is a network's address, not a host's", l.Host)
	}
}

func (p *problems) checkGuest(path string, g Guest, s Spec) {
	p.checkName(path+".name", g.Name)
	p.check(g.Name != "host", path+".name", `"host" is the lab's own side`)
	p.check(g.Machine == MachineQ35 || g.Machine == MachinePC, path+".machine", "%q is neither q35 nor pc", g.Machine)
	p.check(g.CPUs >= 1 && g.CPUs <= 64, path+".cpus", "%d is not between 1 and 64", g.CPUs)
	p.check(g.MemoryMiB >= minMemoryMiB && g.MemoryMiB <= maxMemoryMiB, path+".memory_mib", "%d is not between %d and %d", g.MemoryMiB, minMemoryMiB, maxMemoryMiB)
	p.check(g.CID >= 3 && g.CID != 1<<32-1, path+".cid", "%d is reserved; context ids of guests start at 3", g.CID)
	p.check(g.SpareSlots >= 0 && g.SpareSlots <= maxNICs, path+".spare_slots", "%d is not between 0 and %d", g.SpareSlots, maxNICs)
	p.check(g.Boot == BootImage || g.Boot == BootNet, path+".boot", "%q is neither empty nor net", g.Boot)
	p.check(!g.Bare() || g.Image == "" && g.SwapMiB == 0 && len(g.CommandLine) == 0, path+".boot", "net takes no image, command line or swap")
	p.check(g.SwapMiB >= 0 && g.SwapMiB <= maxSwapMiB, path+".swap_mib", "%d is not between 0 and %d", g.SwapMiB, maxSwapMiB)
	p.check(len(g.NICs) <= maxNICs, path+".nics", "%d are more than %d", len(g.NICs), maxNICs)
	for i, n := range g.NICs {
		p.checkNIC(fmt.Sprintf("%s.nics[%d]", path, i), n, s)
	}
}

func (p *problems) checkNIC(path string, n NIC, s Spec) {
	p.check(modelPattern.MatchString(n.Model), path+".model", "%q is not a device name", n.Model)
	p.check(n.Queues >= 1 && n.Queues <= maxQueues, path+".queues", "%d is not between 1 and %d", n.Queues, maxQueues)
	hw, err := net.ParseMAC(n.MAC)
	p.check(err == nil && len(hw) == 6 && hw[0]&1 == 0, path+".mac", "%q is not a unicast Ethernet address", n.MAC)
	for i, o := range n.Options {
		name, _, ok := strings.Cut(o, "=")
		p.check(ok && name != "" && !strings.Contains(o, ","), fmt.Sprintf("%s.options[%d]", path, i), "%q is not one name=value", o)
	}
	p.checkBackend(path, n, s)
}

func (p *problems) checkBackend(path string, n NIC, s Spec) {
	switch n.Backend {
	case BackendAuto, BackendTap:
		p.checkLinked(path, n, s)
	case BackendVale, BackendVhostUser:
		p.checkLinked(path, n, s)
		p.checkSwitched(path, n)
	case BackendUser:
		p.check(n.Link == "", path+".link", "backend user joins no link")
		p.check(!n.Vhost, path+".vhost", "backend user has no vhost")
		p.check(n.Queues == 1, path+".queues", "backend user has one queue pair")
	case "":
		p.add(path+".backend", "neither a link nor a backend is given")
	default:
		p.add(path+".backend", "%q is none of auto, tap, vale, vhost-user, user", n.Backend)
	}
}

// checkLinked looks at a NIC's link, which is a bridge or a switch but not both.
func (p *problems) checkLinked(path string, n NIC, s Spec) {
	p.check(slices.ContainsFunc(s.Links, func(l Link) bool { return l.Name == n.Link }), path+".link", "no link is called %q", n.Link)
	p.check(n.Backend == BackendAuto || n.switched() == s.switched(n.Link), path+".backend", "link %q has NICs on taps and NICs on a switch", n.Link)
}

func (p *problems) checkSwitched(path string, n NIC) {
	p.check(!n.Vhost, path+".vhost", "backend %s has no kernel's vhost", n.Backend)
	p.check(n.Backend == BackendVale || isVirtio(n.Model), path+".backend", "backend vhost-user is for virtio, %s joins a switch with backend vale", n.Model)
	p.check(n.Queues == 1 || n.vhostUser(), path+".queues", "%s has one queue pair", n.Model)
}
