package catalogue

import (
	"cmp"
	"slices"
)

// expand returns all combinations of the case's axis values, excluded ones too,
// the last axis varying fastest.  want narrows an axis; without it an axis has
// the profile's values.
func (c *Case) expand(p Profile, want map[string][]string) []Instance {
	all := []Instance{{Case: c}}
	for _, a := range c.Matrix.Axes {
		values := a.in(p)
		if w, ok := want[a.Name]; ok {
			values = keep(a.Values, w)
		}
		all = vary(all, a.Name, values)
	}
	for _, in := range all {
		slices.SortFunc(in.Binds, func(x, y Bind) int { return cmp.Compare(x.Axis, y.Axis) })
	}
	return all
}

// in returns the values an axis has in a profile.
func (a Axis) in(p Profile) []string {
	if p == Quick && len(a.Quick) > 0 {
		return a.Quick
	}
	return a.Values
}

// keep returns those of values that are wanted, in the order of values.
func keep(values, want []string) []string {
	var kept []string
	for _, v := range values {
		if slices.Contains(want, v) {
			kept = append(kept, v)
		}
	}
	return kept
}

func vary(all []Instance, axis string, values []string) []Instance {
	var next []Instance
	for _, in := range all {
		for _, v := range values {
			binds := append(slices.Clone(in.Binds), Bind{Axis: axis, Value: v})
			next = append(next, Instance{Case: in.Case, Binds: binds})
		}
	}
	return next
}
