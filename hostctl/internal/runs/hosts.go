package runs

import (
	"fmt"
	"slices"
	"strings"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/internal/probe"
	"picolab/hostctl/internal/remote"
	"picolab/hostctl/report"
)

// The ways of running the host image.
const (
	Container = "container" // namespaces of the kernel at hand
	VM        = "vm"        // its own kernel under QEMU, on this machine
	Metal     = "metal"     // flashed, on a lab PC
	Auto      = "auto"      // for each instance the cheapest of the first two that has what it needs
)

// Host is where instances run, or are to run.
type Host struct {
	Kind string
	PC   remote.PC // of metal
}

// ParseHost reads container, vm, auto or metal=ssh://[user@]host[:port][/folder].
func ParseHost(text string) (Host, error) {
	kind, address, _ := strings.Cut(text, "=")
	switch {
	case text == Container || text == VM || text == Auto:
		return Host{Kind: text}, nil
	case kind == Metal:
		pc, err := remote.ParsePC(address)
		return Host{Kind: Metal, PC: pc}, err
	}
	return Host{}, fmt.Errorf("%q is none of container, vm, auto, metal=ssh://user@pc", text)
}

// String is what ParseHost reads.
func (h Host) String() string {
	if h.Kind == Metal {
		return Metal + "=" + h.PC.String()
	}
	return h.Kind
}

// Share is what one host runs of a plan.
type Share struct {
	Host Host
	Plan catalogue.Plan
	Why  []string // why it is that host, where there was a choice
}

// vmHas is what the host image has as a VM whatever machine it runs on: its own kernel brings the drivers, and QEMU the
// rest. The VM probes all of it again before it believes it.
var vmHas = []string{
	probe.Tap, probe.QEMU, probe.VhostNet, probe.VhostVsock, probe.Memory, probe.Shm, probe.Disk, probe.CPUs, probe.Nesting,
}

// assign divides a plan between container and VM. Instances that neither can run stay with the container, whose probes say
// what is missing, and so do those that another of the plan stands in for there: the VM is ten times slower. The order
// inside a share is the plan's.
func assign(plan catalogue.Plan, facts map[string]report.Fact) []Share {
	here, there := part(plan), part(plan)
	var why, stays []string
	for _, g := range plan.Groups {
		var stay, away []catalogue.Instance
		for _, in := range g.Instances {
			reason := elsewhere(in, facts)
			if reason == "" || !vmCan(in) {
				stay = append(stay, in)
				continue
			}
			if other, ok := plan.StandIn(in, facts); ok {
				stay = append(stay, in)
				stays = append(stays, in.ID()+": "+other.ID()+" stands in for it")
				continue
			}
			away = append(away, in)
			why = append(why, in.ID()+": "+reason)
		}
		here.Groups = appendGroup(here.Groups, g.Topology, stay)
		there.Groups = appendGroup(there.Groups, g.Topology, away)
	}
	var shares []Share
	if len(here.Groups) > 0 {
		shares = append(shares, Share{Host: Host{Kind: Container}, Plan: here, Why: stays})
	}
	if len(there.Groups) > 0 {
		shares = append(shares, Share{Host: Host{Kind: VM}, Plan: there, Why: why})
	}
	return shares
}

// part is a plan without its instances.
func part(p catalogue.Plan) catalogue.Plan { return catalogue.Plan{Profile: p.Profile} }

func appendGroup(groups []catalogue.Group, top catalogue.Topology, instances []catalogue.Instance) []catalogue.Group {
	if len(instances) == 0 {
		return groups
	}
	return append(groups, catalogue.Group{Topology: top, Instances: instances})
}

// elsewhere says why an instance cannot run in the container, or "".
func elsewhere(in catalogue.Instance, facts map[string]report.Fact) string {
	if why := in.Case.NotOn(Container); why != "" {
		return why
	}
	for _, need := range in.HostNeeds() {
		if f, ok := facts[need]; ok && !f.OK {
			return fmt.Sprintf("needs %s: %s", need, f.Evidence)
		}
	}
	return ""
}

func vmCan(in catalogue.Instance) bool {
	lacks := func(need string) bool { return !slices.Contains(vmHas, need) }
	return in.Case.NotOn(VM) == "" && !slices.ContainsFunc(in.HostNeeds(), lacks)
}

// alsoNotVM adds to the facts that are a no what is true of the VM too, so that a SKIP names every place that was thought of.
func alsoNotVM(facts []report.Fact) []report.Fact {
	out := slices.Clone(facts)
	for i, f := range out {
		if !f.OK && !slices.Contains(vmHas, f.Name) {
			out[i].Evidence += "; the host image as a VM has none either"
		}
	}
	return out
}
