package catalogue

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"picolab/hostctl/report"
)

// Selection is what selectors and --set picked.
type Selection struct {
	Instances []Instance
	Excluded  []report.Excluded // combinations that are no instance, with the reason
}

// Match returns the cases the selectors pick, in catalogue order; all without
// any.  A selector that picks nothing is an error: it is a typing mistake.
func (s *Set) Match(selectors []string) ([]*Case, error) {
	picks, err := s.picks(selectors)
	if err != nil {
		return nil, err
	}
	var cases []*Case
	for _, c := range s.cases {
		if len(picks[c]) > 0 {
			cases = append(cases, c)
		}
	}
	return cases, nil
}

// Select returns the instances of the cases that the selectors pick, in profile
// p, narrowed to the axis values of set.
func (s *Set) Select(selectors []string, set map[string][]string, p Profile) (Selection, error) {
	if p != Quick && p != Full {
		return Selection{}, fmt.Errorf("select cases: profile %q is neither quick nor full", p)
	}
	picks, err := s.picks(selectors)
	if err != nil {
		return Selection{}, err
	}
	if err := checkValues(slices.Collect(maps.Keys(picks)), set); err != nil {
		return Selection{}, fmt.Errorf("set: %w", err)
	}
	var out Selection
	for _, c := range s.cases {
		for _, want := range picks[c] {
			out.add(c.choose(p, narrow(want, set)))
		}
	}
	return out, nil
}

// picks returns for each case the axis values that the selectors ask of it, one
// map for each selector that picks it.
func (s *Set) picks(selectors []string) (map[*Case][]map[string][]string, error) {
	if len(selectors) == 0 {
		selectors = []string{"*"}
	}
	picks := map[*Case][]map[string][]string{}
	for _, text := range selectors {
		sel, err := ParseSelector(text)
		if err != nil {
			return nil, err
		}
		if err := s.pick(sel, picks); err != nil {
			return nil, err
		}
	}
	return picks, nil
}

func (s *Set) pick(sel Selector, picks map[*Case][]map[string][]string) error {
	var fits []*Case
	for _, c := range s.cases {
		if sel.match(c) {
			fits = append(fits, c)
			picks[c] = append(picks[c], sel.want)
		}
	}
	if len(fits) == 0 {
		return fmt.Errorf("select %s: no such case (hostctl list shows all)", sel.text)
	}
	if err := checkValues(fits, sel.want); err != nil {
		return fmt.Errorf("select %s: %w", sel.text, err)
	}
	return nil
}

// checkValues reports an axis or a value that none of the cases has.
func checkValues(cases []*Case, want map[string][]string) error {
	for _, axis := range sortedKeys(want) {
		var known []string
		for _, c := range cases {
			if a := c.axis(axis); a != nil {
				known = append(known, keepNew(known, a.Values)...)
			}
		}
		if err := wantKnown(axis, want[axis], known); err != nil {
			return err
		}
	}
	return nil
}

// keepNew returns those of values that known lacks.
func keepNew(known, values []string) []string {
	return slices.DeleteFunc(slices.Clone(values), func(v string) bool { return slices.Contains(known, v) })
}

func wantKnown(axis string, want, known []string) error {
	if len(known) == 0 {
		return fmt.Errorf("no selected case has the axis %s", axis)
	}
	for _, v := range want {
		if !slices.Contains(known, v) {
			return fmt.Errorf("%s=%s: the values are %s", axis, v, strings.Join(known, ", "))
		}
	}
	return nil
}

// narrow joins what a selector and --set want; on an axis that both name only
// the common values stay.
func narrow(want, set map[string][]string) map[string][]string {
	out := map[string][]string{}
	for axis, values := range set {
		out[axis] = values
	}
	for axis, values := range want {
		if both, ok := set[axis]; ok {
			values = keep(values, both)
		}
		out[axis] = values
	}
	return out
}

// add takes instances that are not there yet, and combinations that are none.
func (out *Selection) add(chosen, excluded []Instance) {
	for _, in := range chosen {
		same := func(x Instance) bool { return x.ID() == in.ID() }
		if !slices.ContainsFunc(out.Instances, same) {
			out.Instances = append(out.Instances, in)
		}
	}
	for _, in := range excluded {
		ex := report.Excluded{Instance: in.ID(), Reason: in.excluded()}
		if !slices.Contains(out.Excluded, ex) {
			out.Excluded = append(out.Excluded, ex)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
