package catalogue

import (
	"cmp"
	"fmt"
	"slices"

	"picolab/hostctl/report"
)

// Standin marks instances that the quick profile runs only in the place of
// another: the one with For as the value of Axis, where the host lacks what that
// one needs.  The full profile runs both, and so does who names the instance.
type Standin struct {
	When []Match `json:"when"` // all of them
	Axis string  `json:"axis"`
	For  string  `json:"for"`
}

// standsFor returns the instance that in stands in for, if it does.
func (in Instance) standsFor() (Instance, bool) {
	for _, s := range in.Case.Matrix.Standins {
		miss := func(m Match) bool { return !m.matches(in) }
		if !slices.ContainsFunc(s.When, miss) {
			return in.with(s.Axis, s.For), true
		}
	}
	return Instance{}, false
}

// with returns the instance with another value of an axis.
func (in Instance) with(axis, value string) Instance {
	in.Binds = slices.Clone(in.Binds)
	i, ok := slices.BinarySearchFunc(in.Binds, axis, func(b Bind, name string) int { return cmp.Compare(b.Axis, name) })
	if ok {
		in.Binds[i].Value = value
	}
	return in
}

// Settle takes the instances out of a quick plan that stand in for others of the
// plan which can run on a host of these facts; they become excluded ones.
func (p Plan) Settle(facts map[string]report.Fact) Plan {
	if p.Profile != Quick {
		return p
	}
	planned := p.IDs()
	reasons := map[string]string{}
	for _, in := range p.Instances() {
		other, ok := in.standsFor()
		if ok && slices.Contains(planned, other.ID()) && other.can(facts) {
			reasons[in.ID()] = fmt.Sprintf("stands in for %s, which can run here; the full profile runs both", other.ID())
		}
	}
	out := p.Only(func(id string) bool { return reasons[id] == "" })
	out.Excluded = slices.Clone(p.Excluded)
	for _, id := range sortedKeys(reasons) {
		out.Excluded = append(out.Excluded, report.Excluded{Instance: id, Reason: reasons[id]})
	}
	return out
}

// can says whether a host of these facts has what the instance needs.
func (in Instance) can(facts map[string]report.Fact) bool {
	lacks := func(need string) bool { return !facts[need].OK }
	return !slices.ContainsFunc(in.HostNeeds(), lacks)
}
