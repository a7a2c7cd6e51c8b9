package catalogue

import (
	"slices"

	"picolab/hostctl/report"
)

// StandIn returns an instance of a quick plan that shows on a host of these facts what in would show elsewhere: of the same
// case and model of card, which the host can run, and other than in by the value of an axis whose values are alike.  There is
// one only when nothing but that value keeps in from the host, as no leave to make taps does.
func (p Plan) StandIn(in Instance, facts map[string]report.Fact) (Instance, bool) {
	if p.Profile != Quick {
		return Instance{}, false
	}
	for _, a := range in.Case.Matrix.Axes {
		if !a.Alike || !in.onlyFor(a, facts) {
			continue
		}
		for _, other := range p.Instances() {
			if other.Case == in.Case && other.unlike(in, a.Name) && !other.lacks(facts) {
				return other, true
			}
		}
	}
	return Instance{}, false
}

// onlyFor reports whether the host lacks what the instance's value of an axis needs, and nothing else.
func (in Instance) onlyFor(a Axis, facts map[string]report.Fact) bool {
	v, _ := in.Value(a.Name)
	unmet := slices.DeleteFunc(in.HostNeeds(), func(need string) bool { return facts[need].OK })
	own := func(need string) bool { return slices.Contains(a.Needs[v], need) }
	return len(unmet) > 0 && !slices.ContainsFunc(unmet, func(need string) bool { return !own(need) })
}

// unlike reports whether the instance has another value of the axis and the same card.
func (in Instance) unlike(other Instance, axis string) bool {
	mine, _ := in.Value(axis)
	its, _ := other.Value(axis)
	nic, _ := in.Value("nic")
	same, _ := other.Value("nic")
	return mine != its && nic == same
}

// lacks reports whether a host of these facts has not all that the instance needs.
func (in Instance) lacks(facts map[string]report.Fact) bool {
	return slices.ContainsFunc(in.HostNeeds(), func(need string) bool { return !facts[need].OK })
}
