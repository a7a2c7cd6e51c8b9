package catalogue

import "slices"

// cover returns a part of instances in which any two axis values that are together in some of them are together in one of the
// part, and each value is there (all-pairs testing; D. M. Cohen et al., "The AETG system", IEEE TSE 23/7, 1997).  A matrix of
// 2 x 6 x 2 is tested by 12 instead of 24 instances so.
//
// It takes the instance with the most pairs that none has yet, the first of several, until there are no more: the same
// instances in the same order always give the same part, and cases of the same axes the same combinations, which is what has
// them share labs.  Instances with a late value (see [Axis]) come in when the others have all their pairs: what most hosts
// skip must not be what tests a pair of other values.
func cover(instances []Instance) []Instance {
	usual := slices.DeleteFunc(slices.Clone(instances), Instance.late)
	have := map[[2]Bind]bool{}
	taken := take(usual, have, Instance.pairs)
	return only(instances, append(taken, take(instances, have, Instance.pairs)...))
}

// thin returns a part of instances in which each value of theirs is.
func thin(instances []Instance) []Instance {
	return only(instances, take(instances, map[[2]Bind]bool{}, Instance.values))
}

// only returns the instances of these ids.
func only(instances []Instance, ids []string) []Instance {
	return slices.DeleteFunc(slices.Clone(instances), func(in Instance) bool { return !slices.Contains(ids, in.ID()) })
}

// take returns the ids of instances that cover all pairs of theirs beyond those that have is about, and adds these to it.
func take(instances []Instance, have map[[2]Bind]bool, pairs func(Instance) [][2]Bind) []string {
	var taken []string
	for {
		var best Instance
		var most [][2]Bind
		for _, in := range instances {
			fresh := slices.DeleteFunc(pairs(in), func(p [2]Bind) bool { return have[p] })
			if len(fresh) > len(most) {
				best, most = in, fresh
			}
		}
		if best.Case == nil {
			return taken
		}
		taken = append(taken, best.ID())
		for _, p := range most {
			have[p] = true
		}
	}
}

// pairs returns any two of the instance's values, and each with itself; of an instance without axes, one of nothing.
func (in Instance) pairs() [][2]Bind {
	if len(in.Binds) == 0 {
		return make([][2]Bind, 1)
	}
	var all [][2]Bind
	for i, a := range in.Binds {
		for _, b := range in.Binds[i:] {
			all = append(all, [2]Bind{a, b})
		}
	}
	return all
}

// values returns the pairs of a value with itself.
func (in Instance) values() [][2]Bind {
	return slices.DeleteFunc(in.pairs(), func(p [2]Bind) bool { return p[0] != p[1] })
}

// late reports whether one of the instance's values is.
func (in Instance) late() bool {
	return slices.ContainsFunc(in.Case.Matrix.Axes, func(a Axis) bool {
		v, _ := in.Value(a.Name)
		return slices.Contains(a.Late, v)
	})
}

// choose returns the instances of the case that want asks for: all of the full profile; of the quick one those that cover the
// pairs of the quick values, narrowed.  Where that leaves out a value that is asked for by name, as one that the quick profile
// has not, the pairs are made of what is asked for.  The second result is the combinations that are excluded.
func (c *Case) choose(p Profile, want map[string][]string) (chosen, excluded []Instance) {
	all, excluded := split(c.expand(p, want))
	if p != Quick || len(all) < 2 {
		return all, excluded
	}
	usual, _ := split(c.expand(p, nil))
	if usual = cover(usual); c.Matrix.Sparse { // of these, so that the labs are the same
		usual = thin(usual)
	}
	chosen = slices.DeleteFunc(usual, func(in Instance) bool { return !in.has(want) })
	if !sameValues(all, chosen, want) {
		chosen = cover(all)
	}
	return chosen, excluded
}

// split divides instances into those that are some and those that are excluded.
func split(all []Instance) (some, excluded []Instance) {
	for _, in := range all {
		if in.excluded() == "" {
			some = append(some, in)
		} else {
			excluded = append(excluded, in)
		}
	}
	return some, excluded
}

// has reports whether the instance's values are among those wanted.
func (in Instance) has(want map[string][]string) bool {
	for axis, values := range want {
		if v, ok := in.Value(axis); ok && !slices.Contains(values, v) {
			return false
		}
	}
	return true
}

// sameValues reports whether a part of all has every value that all has of the axes of want.
func sameValues(all, part []Instance, want map[string][]string) bool {
	for axis := range want {
		for _, in := range all {
			v, _ := in.Value(axis)
			same := func(x Instance) bool { w, _ := x.Value(axis); return w == v }
			if !slices.ContainsFunc(part, same) {
				return false
			}
		}
	}
	return len(part) > 0 || len(all) == 0
}
