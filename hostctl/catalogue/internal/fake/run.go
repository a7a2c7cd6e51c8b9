package fake

import (
	"context"
	"fmt"
	"maps"
	"time"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/report"
)

// Quiet is a catalogue.Observer that hears nothing.
type Quiet struct{}

func (Quiet) Booting(catalogue.Topology)                        {}
func (Quiet) BootDone(catalogue.Topology, time.Duration, error) {}
func (Quiet) Start(catalogue.Instance)                          {}
func (Quiet) Done(report.Result)                                {}

// Runner is a runner of fakes that keeps results in *into.
func Runner(dir string, f Faults, into *[]report.Result) *catalogue.Runner {
	return &catalogue.Runner{Boot: Boot(f), Dir: dir, Watch: Quiet{}, Probes: Have("root.tap", "vhost_net"),
		Result: func(r report.Result) error {
			*into = append(*into, r)
			return nil
		}}
}

// Have are probes that all say yes.
func Have(names ...string) map[string]report.Fact {
	facts := map[string]report.Fact{}
	for _, n := range names {
		facts[n] = report.Fact{Name: n, OK: true}
	}
	return facts
}

// hurry has the parameters of pauses and amounts of which a fake learns nothing.
var hurry = catalogue.Values{"pause": "1ms", "down": "1ms", "up": "1ms", "bytes": "256KiB"}

// hurried are cases that pause less and send less.
func hurried(suite []*catalogue.Case) []*catalogue.Case {
	var all []*catalogue.Case
	for _, c := range suite {
		fast := *c
		fast.Params.Quick = catalogue.Values{}
		maps.Copy(fast.Params.Quick, c.Params.Quick)
		for name, v := range hurry {
			if _, ok := c.Params.Full[name]; ok {
				fast.Params.Quick[name] = v
			}
		}
		all = append(all, &fast)
	}
	return all
}

// Run runs what a selector picks of a suite, in the quick profile, on fakes.
func Run(dir string, suite []*catalogue.Case, selector string, f Faults) ([]report.Result, error) {
	set, err := catalogue.NewSet(hurried(suite))
	if err != nil {
		return nil, err
	}
	sel, err := set.Select([]string{selector}, nil, catalogue.Quick)
	if err != nil {
		return nil, err
	}
	plan, err := catalogue.NewPlan(sel, catalogue.Quick)
	if err != nil {
		return nil, err
	}
	var results []report.Result
	if err := Runner(dir, f, &results).Run(context.Background(), plan); err != nil {
		return nil, err
	}
	if len(results) == 0 {
		return nil, fmt.Errorf("run %s: no results", selector)
	}
	return results, nil
}
