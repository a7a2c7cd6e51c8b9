package catalogue

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// bigPlan has groups of 1, 2, 3 ... instances.
func bigPlan(groups int) Plan {
	c := &Case{ID: "s.c", Params: Params{Full: Values{"time": "10s"}, Quick: Values{"time": "2s"}}}
	p := Plan{Profile: Quick}
	for g := range groups {
		group := Group{Topology: OneGuest()}
		for i := range g + 1 {
			group.Instances = append(group.Instances, Instance{Case: c, Binds: []Bind{{"g", fmt.Sprint(g)}, {"i", fmt.Sprint(i)}}})
		}
		p.Groups = append(p.Groups, group)
	}
	return p
}

func TestEstimate(t *testing.T) {
	pace := Pace{Boot: 5 * time.Second, Case: time.Second, Scale: 2}
	p := bigPlan(2)
	if got, want := p.Estimate(pace), 2*5*time.Second+3*(time.Second+4*time.Second); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	p.Profile = Full
	if got := p.Estimate(pace); got != 2*5*time.Second+3*21*time.Second {
		t.Errorf("full takes %v", got)
	}
}

// TestShards: whatever the count, the parts are the plan, none twice, about as long.
func TestShards(t *testing.T) {
	pace := PaceOf("tcg")
	p := bigPlan(12)
	for _, count := range []int{1, 2, 3, 7, 50, 200} {
		var all []string
		var longest time.Duration
		for i := range count {
			part := p.Shard(Shard{i + 1, count}, pace)
			all = append(all, part.IDs()...)
			longest = max(longest, part.Estimate(pace))
			if again := p.Shard(Shard{i + 1, count}, pace); !slices.Equal(again.IDs(), part.IDs()) {
				t.Fatalf("%d/%d: two parts of one name", i+1, count)
			}
		}
		want := p.IDs()
		slices.Sort(all)
		slices.Sort(want)
		if !slices.Equal(all, want) {
			t.Fatalf("%d parts: %d instances, want %d", count, len(all), len(want))
		}
		fair := p.Estimate(pace) / time.Duration(count)
		if longest > 2*fair+2*pace.Boot+2*pace.Case+4*time.Second {
			t.Errorf("%d parts: the longest takes %v, fair were %v", count, longest, fair)
		}
	}
}

func TestParseShard(t *testing.T) {
	for text, want := range map[string]Shard{"1/1": {1, 1}, "2/5": {2, 5}} {
		if got, err := ParseShard(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1", "0/3", "4/3", "a/b", "1/0", "1/2/3", "-1/2", "1/99999"} {
		if got, err := ParseShard(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestOnly(t *testing.T) {
	p := bigPlan(3)
	ids := p.IDs()
	got := p.Only(func(id string) bool { return id == ids[1] || id == ids[5] })
	if !slices.Equal(got.IDs(), []string{ids[1], ids[5]}) || len(got.Groups) != 2 {
		t.Errorf("%v in %d groups", got.IDs(), len(got.Groups))
	}
	if len(p.IDs()) != 6 {
		t.Error("the plan itself has changed")
	}
}
