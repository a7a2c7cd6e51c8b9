package vhostnet

import (
	"slices"
	"strings"
	"testing"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/catalogue/internal/fake"
	"picolab/hostctl/report"
)

// TestOutpaced shows that loss of large requests sent faster than the guest answers is a tolerance under emulation alone,
// and only when nothing is lost at the guest's own pace.
func TestOutpaced(t *testing.T) {
	for name, tt := range map[string]struct {
		faults fake.Faults
		host   report.Host
		nic    string
		want   report.Verdict
	}{
		"emulated, crowded":       {fake.Faults{Crowded: true}, report.Host{Accel: "tcg"}, "virtio", report.Degraded},
		"nested kvm, crowded":     {fake.Faults{Crowded: true}, report.Host{Accel: "kvm", Nesting: 1}, "virtio", report.Degraded},
		"kvm, crowded":            {fake.Faults{Crowded: true}, report.Host{Accel: "kvm"}, "virtio", report.Fail},
		"emulated, lost anyway":   {fake.Faults{Cut: true}, report.Host{Accel: "tcg"}, "virtio", report.Fail},
		"emulated, small are too": {fake.Faults{Loss: func(size int) bool { return size == 64 }}, report.Host{Accel: "tcg"}, "virtio", report.Fail},
		"emulated, all is well":   {fake.Faults{}, report.Host{Accel: "tcg"}, "virtio", report.Pass},
		// Its card drops what comes while the guest is not scheduled: what a moment showed is not called a PASS.
		"emulated rtl8139":              {fake.Faults{}, report.Host{Accel: "tcg"}, "rtl8139", report.Degraded},
		"emulated rtl8139, crowded":     {fake.Faults{Crowded: true}, report.Host{Accel: "tcg"}, "rtl8139", report.Degraded},
		"emulated rtl8139, lost anyway": {fake.Faults{Cut: true}, report.Host{Accel: "tcg"}, "rtl8139", report.Fail},
		"emulated rtl8139, one size":    {fake.Faults{Loss: func(size int) bool { return size == 65507 }}, report.Host{Accel: "tcg"}, "rtl8139", report.Fail},
		"kvm, rtl8139":                  {fake.Faults{}, report.Host{Accel: "kvm"}, "rtl8139", report.Pass},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := catalogue.NewSet([]*catalogue.Case{&ping})
			if err != nil {
				t.Fatal(err)
			}
			sel, err := set.Select([]string{"vhostnet.ping[backend=tap,machine=q35,nic=" + tt.nic + ",vhost=off]"}, nil, catalogue.Quick)
			if err != nil {
				t.Fatal(err)
			}
			plan, err := catalogue.NewPlan(sel, catalogue.Quick)
			if err != nil {
				t.Fatal(err)
			}
			var results []report.Result
			r := fake.Runner(t.TempDir(), tt.faults, &results)
			r.Host = tt.host
			if err := r.Run(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			got := results[0]
			if got.Result != tt.want || tt.want == report.Degraded && !strings.Contains(got.Reason, "none when each waits") {
				t.Errorf("%s: %s", got.Result, got.Reason)
			}
			deviates := func(c report.Check) bool { return c.OK && strings.Contains(c.Seed, "deviation") }
			if crowded := tt.want == report.Degraded; crowded != slices.ContainsFunc(got.Checks, deviates) {
				t.Error("whether a deviation was met is not told by the checks")
			}
		})
	}
}
