package catalogue

import (
	"slices"

	"picolab/hostctl/report"
)

// Plan is a selection in the order it runs.
type Plan struct {
	Profile  Profile
	Groups   []Group
	Excluded []report.Excluded
}

// Group is the instances that can share one booted lab.
type Group struct {
	Topology  Topology
	Instances []Instance
}

// NewPlan puts instances of one topology together.  Groups come in the order of
// their first instance, and the instances of a group in the selection's.
func NewPlan(sel Selection, p Profile) (Plan, error) {
	plan := Plan{Profile: p, Excluded: sel.Excluded}
	at := map[string]int{}
	for _, in := range sel.Instances {
		top, err := in.Topology()
		if err != nil {
			return Plan{}, err
		}
		key := top.Key()
		i, ok := at[key]
		if !ok {
			i = len(plan.Groups)
			at[key] = i
			plan.Groups = append(plan.Groups, Group{Topology: top})
		}
		plan.Groups[i].Instances = append(plan.Groups[i].Instances, in)
	}
	return plan, nil
}

// Instances returns all instances in running order.
func (p Plan) Instances() []Instance {
	var all []Instance
	for _, g := range p.Groups {
		all = append(all, g.Instances...)
	}
	return all
}

// IDs returns the ids of all instances in running order.
func (p Plan) IDs() []string {
	var ids []string
	for _, in := range p.Instances() {
		ids = append(ids, in.ID())
	}
	return ids
}

// Needs returns everything any instance needs, sorted: what must be probed.
func (p Plan) Needs() []string {
	var all []string
	for _, in := range p.Instances() {
		all = append(all, in.Needs()...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
