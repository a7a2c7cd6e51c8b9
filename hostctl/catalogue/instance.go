package catalogue

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Bind is one axis with its value.
type Bind struct {
	Axis  string `json:"axis"`
	Value string `json:"value"`
}

// Instance is a case with a value for each of its axes.
type Instance struct {
	Case  *Case
	Binds []Bind // sorted by axis
}

// ID is the stable name of an instance: case[axis=value,...] with the axes
// sorted, or the case's id alone when it has none.
func (in Instance) ID() string {
	if len(in.Binds) == 0 {
		return in.Case.ID
	}
	return in.Case.ID + "[" + in.axes() + "]"
}

func (in Instance) axes() string {
	words := make([]string, len(in.Binds))
	for i, b := range in.Binds {
		words[i] = b.Axis + "=" + b.Value
	}
	return strings.Join(words, ",")
}

// Dir is the instance's folder below a run's: made of its id, without brackets,
// so that it can be typed unquoted.
func (in Instance) Dir() string {
	if len(in.Binds) == 0 {
		return in.Case.ID
	}
	return in.Case.ID + "/" + in.axes()
}

// Value returns the value of an axis and whether the instance has that axis.
func (in Instance) Value(axis string) (string, bool) {
	i, ok := slices.BinarySearchFunc(in.Binds, axis, func(b Bind, name string) int { return cmp.Compare(b.Axis, name) })
	if !ok {
		return "", false
	}
	return in.Binds[i].Value, true
}

// Needs returns what the host must have for this instance: the case's needs,
// then those of its axis values.
func (in Instance) Needs() []string {
	needs := slices.Clone(in.Case.Needs)
	for _, a := range in.Case.Matrix.Axes {
		v, _ := in.Value(a.Name)
		for _, n := range a.Needs[v] {
			if !slices.Contains(needs, n) {
				needs = append(needs, n)
			}
		}
	}
	return needs
}

// HostNeeds is [Instance.Needs] without those that are modules of the guests'
// kernel, which are looked at when a guest is up.
func (in Instance) HostNeeds() []string {
	ofGuest := func(need string) bool { return strings.HasPrefix(need, guestModule) }
	return slices.DeleteFunc(in.Needs(), ofGuest)
}

// Topology returns the case's topology with this instance's values put in.
func (in Instance) Topology() (Topology, error) {
	top, err := in.Case.Topology.Resolve(in.Binds)
	if err != nil {
		return Topology{}, fmt.Errorf("resolve topology of %s: %w", in.ID(), err)
	}
	return top, nil
}

// matches reports whether m holds for the instance.
func (m Match) matches(in Instance) bool {
	v, ok := in.Value(m.Axis)
	return ok && slices.Contains(m.In, v)
}

// excluded returns the reason why the instance is none, or "".
func (in Instance) excluded() string {
	for _, ex := range in.Case.Matrix.Exclusions {
		miss := func(m Match) bool { return !m.matches(in) }
		if !slices.ContainsFunc(ex.When, miss) {
			return ex.Reason
		}
	}
	return ""
}
