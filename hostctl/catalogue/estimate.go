package catalogue

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"picolab/hostctl/lab"
)

// Pace is what things take on a kind of host, for telling how long a plan will run.
type Pace struct {
	Boot  time.Duration // of one guest
	Case  time.Duration // of an instance beside the time its parameters spend
	Scale float64       // of that time
}

// PaceOf returns the pace of an accelerator. The figures are those of two shared cores; they are a guess that a person plans
// by, and nothing is decided by them but the balance of shards.
func PaceOf(accel string) Pace {
	if accel == lab.AccelKVM {
		return Pace{Boot: 700 * time.Millisecond, Case: 500 * time.Millisecond, Scale: 1}
	}
	return Pace{Boot: 6 * time.Second, Case: 500 * time.Millisecond, Scale: 1}
}

// Estimate returns how long a plan takes.
func (p Plan) Estimate(pace Pace) time.Duration {
	var all time.Duration
	for _, g := range p.Groups {
		all += g.Estimate(p.Profile, pace)
	}
	return all
}

// Estimate returns how long a group takes, its boots included.
func (g Group) Estimate(p Profile, pace Pace) time.Duration {
	all := time.Duration(len(g.Topology.Guests)) * pace.Boot
	for _, in := range g.Instances {
		all += in.estimate(p, pace)
	}
	return all
}

func (in Instance) estimate(p Profile, pace Pace) time.Duration {
	spend := time.Duration(0)
	if text, ok := in.Case.Params.Get(p, "time"); ok {
		spend, _ = time.ParseDuration(text) // the catalogue's own tests read them all
	}
	return pace.Case + time.Duration(float64(spend)*pace.Scale)
}

// Shard is a part of a plan: Index of Count, from 1.
type Shard struct{ Index, Count int }

// ParseShard reads "2/5".
func ParseShard(text string) (Shard, error) {
	var s Shard
	var rest string
	n, _ := fmt.Sscanf(text+" .", "%d/%d %s", &s.Index, &s.Count, &rest)
	if n != 3 || rest != "." || s.Count < 1 || s.Index < 1 || s.Index > s.Count || s.Count > 1000 {
		return Shard{}, fmt.Errorf("%q is no shard: it is I/N, with I from 1 to N", text)
	}
	return s, nil
}

// Shard returns one part of a plan. All parts of a plan are about as long, and together they are the plan: the same plan and
// count always give the same parts. Instances that share a lab stay together unless they would be longer than a part.
func (p Plan) Shard(s Shard, pace Pace) Plan {
	pieces := p.pieces(s.Count, pace)
	order := make([]int, len(pieces))
	cost := make([]time.Duration, len(pieces))
	for i, g := range pieces {
		order[i], cost[i] = i, g.Estimate(p.Profile, pace)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(cost[b], cost[a]) })
	load := make([]time.Duration, s.Count)
	part := make([]int, len(pieces))
	for _, i := range order { // the longest first, each to the part with the least
		least := slices.Index(load, slices.Min(load))
		load[least] += cost[i]
		part[i] = least + 1
	}
	out := Plan{Profile: p.Profile, Excluded: p.Excluded}
	for i, g := range pieces {
		if part[i] == s.Index {
			out.Groups = append(out.Groups, g)
		}
	}
	return out
}

// pieces divides groups that are longer than a fair part.
func (p Plan) pieces(parts int, pace Pace) []Group {
	fair := p.Estimate(pace) / time.Duration(parts)
	var all []Group
	for _, g := range p.Groups {
		all = append(all, g.split(p.Profile, pace, fair)...)
	}
	return all
}

func (g Group) split(p Profile, pace Pace, fair time.Duration) []Group {
	n := len(g.Instances)
	if n < 2 || g.Estimate(p, pace) <= fair {
		return []Group{g}
	}
	first := Group{g.Topology, g.Instances[:n/2]}
	second := Group{g.Topology, g.Instances[n/2:]}
	return append(first.split(p, pace, fair), second.split(p, pace, fair)...)
}

// Only returns the part of a plan whose instances keep accepts.
func (p Plan) Only(keep func(id string) bool) Plan {
	out := Plan{Profile: p.Profile, Excluded: p.Excluded}
	for _, g := range p.Groups {
		rest := slices.DeleteFunc(slices.Clone(g.Instances), func(in Instance) bool { return !keep(in.ID()) })
		if len(rest) > 0 {
			out.Groups = append(out.Groups, Group{g.Topology, rest})
		}
	}
	return out
}
