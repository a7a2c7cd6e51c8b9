package report

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"
)

// Run is what is the same for all instances of a run; run.json holds it once.
type Run struct {
	Format    int               `json:"format"`
	Started   time.Time         `json:"started"`
	Profile   string            `json:"profile"`
	Command   []string          `json:"command"`
	Host      Host              `json:"host"`
	Image     string            `json:"image"`
	Versions  map[string]string `json:"versions"`  // of picolab, QEMU, the guest's kernel...
	Facts     []Fact            `json:"facts"`     // what the probes found, with their evidence
	Catalogue string            `json:"catalogue"` // digest of the catalogue's data
	Planned   []string          `json:"planned"`   // instance ids, in the order they run
	Excluded  []Excluded        `json:"excluded"`  // combinations that are none, and why
	Parts     []Part            `json:"parts"`     // one for each host that ran some of it, in the order they ran
}

// Part is what one host ran of a run, and what was found out about it.
type Part struct {
	Host     Host              `json:"host"`
	Why      []string          `json:"why,omitempty"` // why these instances ran there
	Image    string            `json:"image"`
	Versions map[string]string `json:"versions"`
	Facts    []Fact            `json:"facts"`
	Planned  []string          `json:"planned"`
}

// Fact is one thing a probe found out about the host.
type Fact struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Evidence string `json:"evidence"`
	Remedy   string `json:"remedy,omitempty"`
}

// Excluded is a combination of axis values that is not an instance.
type Excluded struct {
	Instance string `json:"instance"`
	Reason   string `json:"reason"`
}

// ReadRun reads a run.json.
func ReadRun(path string) (Run, error) {
	var run Run
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &run)
	}
	if err != nil {
		return Run{}, fmt.Errorf("read run: %w", err)
	}
	return run, nil
}

// Outcome is a run and what came of it.
type Outcome struct {
	Run         Run
	Results     []Result
	Interrupted bool    // stopped by a signal
	Seconds     float64 // wall-clock time of the whole run
}

// Missing returns the planned instances that have no result, in plan order.
func (o *Outcome) Missing() []string {
	var missing []string
	for _, id := range o.Run.Planned {
		has := func(r Result) bool { return r.Instance == id }
		if !slices.ContainsFunc(o.Results, has) {
			missing = append(missing, id)
		}
	}
	return missing
}

// Count returns how many results have verdict v.
func (o *Outcome) Count(v Verdict) int {
	n := 0
	for i := range o.Results {
		if o.Results[i].Result == v {
			n++
		}
	}
	return n
}

// Executed returns how many instances really ran, that is, were not skipped.
func (o *Outcome) Executed() int { return len(o.Results) - o.Count(Skip) }

// Worst returns the worst verdict; Skip for an empty run.
func (o *Outcome) Worst() Verdict {
	worst := Skip
	for i := range o.Results {
		if v := o.Results[i].Result; v.Worse(worst) {
			worst = v
		}
	}
	return worst
}

// ExitCode is the exit code of the run.  A run that planned nothing, or that
// lost instances without being told to stop, is never green.
func (o *Outcome) ExitCode() int {
	switch {
	case o.Interrupted:
		return ExitInterrupted
	case len(o.Run.Planned) == 0:
		return ExitNothing
	}
	code := o.Worst().ExitCode()
	if len(o.Missing()) > 0 && !o.stopped() {
		return max(code, ExitError)
	}
	return code
}

// stopped reports whether the run ended early for a reason that is itself in
// the results: --fail-fast after a bad one.
func (o *Outcome) stopped() bool { return !o.Worst().Good() }
