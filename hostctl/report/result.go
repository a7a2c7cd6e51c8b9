package report

import (
	"errors"
	"fmt"
	"time"
)

// Check is one comparison of what a seed asks for with what was seen.
type Check struct {
	Name     string `json:"name"`
	Expected string `json:"expected"`
	Got      string `json:"got"`
	OK       bool   `json:"ok"`
	Seed     string `json:"seed,omitempty"`     // the seed's own value, where Expected deviates from it
	Evidence string `json:"evidence,omitempty"` // a file of the instance's folder, or a line of text
}

// Host says where an instance ran.
type Host struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"` // container, vm or metal: which way of running the host image it was
	Kernel  string `json:"kernel"`
	Accel   string `json:"accel"` // kvm or tcg
	QEMU    string `json:"qemu"`
	Nesting int    `json:"nesting,omitempty"` // emulated machines around the host
}

// Result is one line of results.jsonl.  The names of its fields are an
// interface for machines: they may be added to, never changed.
type Result struct {
	Case     string    `json:"case"`     // vhostnet.ping
	Instance string    `json:"instance"` // vhostnet.ping[nic=e1000,vhost=off]
	Result   Verdict   `json:"result"`
	Reason   string    `json:"reason"` // empty only for a plain PASS
	Checks   []Check   `json:"checks"`
	Evidence []string  `json:"evidence"` // files, relative to the run's folder
	Host     Host      `json:"host"`
	Image    string    `json:"image"` // the guest image's id
	Seconds  float64   `json:"seconds"`
	Profile  string    `json:"profile"`
	Boot     float64   `json:"boot_seconds"` // seconds of Seconds spent booting a lab for this instance
	Started  time.Time `json:"started"`
	Notes    []string  `json:"notes,omitempty"`   // what a case said on its way
	Steps    []Step    `json:"steps,omitempty"`   // what it did, in order
	Figures  []Figure  `json:"figures,omitempty"` // what it measured
}

// Validate reports what is wrong with a result that is to be written.
func (r *Result) Validate() error {
	switch {
	case r.Case == "" || r.Instance == "":
		return errors.New("check result: no case or instance name")
	case !r.Result.Valid():
		return fmt.Errorf("check result %s: %q is no verdict", r.Instance, r.Result)
	case r.Result != Pass && r.Reason == "":
		return fmt.Errorf("check result %s: %s without a reason", r.Instance, r.Result)
	case r.Seconds < 0:
		return fmt.Errorf("check result %s: negative duration", r.Instance)
	}
	for i := range r.Figures {
		if err := r.Figures[i].validate(); err != nil {
			return fmt.Errorf("check result %s: %w", r.Instance, err)
		}
	}
	return nil
}

// Failed returns the checks that did not hold.
func (r *Result) Failed() []Check {
	var bad []Check
	for _, c := range r.Checks {
		if !c.OK {
			bad = append(bad, c)
		}
	}
	return bad
}
