package vnic_test

import (
	"strings"
	"testing"

	"picolab/hostctl/catalogue/internal/fake"
	"picolab/hostctl/catalogue/vnic"
	"picolab/hostctl/report"
)

// TestPass shows that every instance passes on a lab where all is well.
func TestPass(t *testing.T) {
	results, err := fake.Run(t.TempDir(), vnic.Cases(), "vnic", fake.Faults{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Result != report.Pass {
			t.Errorf("%s: %s: %s", r.Instance, r.Result, r.Reason)
		}
		for _, n := range r.Notes {
			if strings.Contains(n, "fresh lab") || strings.Contains(n, "cleanup") {
				t.Errorf("%s: %s", r.Instance, n)
			}
		}
	}
}

// TestFail shows for every case that it can fail, and by which check.
func TestFail(t *testing.T) {
	tests := []struct {
		name, selector string
		faults         fake.Faults
		check          string // begins the check that does not hold
	}{
		{"another driver", "vnic.driver-info", fake.Faults{Driver: "tg3"}, "driver by ethtool"},
		{"indirect_desc is missing", "vnic.features-default", fake.Faults{Flip: []int{28}}, "feature bit 28"},
		{"event_idx is missing", "vnic.features-default", fake.Faults{Flip: []int{29}}, "feature bit 29"},
		{"indirect_desc is there", "vnic.features-off", fake.Faults{Flip: []int{28}}, "feature bit 28"},
		{"event_idx is there", "vnic.features-off", fake.Faults{Flip: []int{29}}, "feature bit 29"},
		{"set_link does nothing", "vnic.link-status-on", fake.Faults{Deaf: true}, "operstate after set_link off"},
		{"set_link is seen without the feature", "vnic.link-status-off", fake.Faults{Talkative: true}, "operstate after set_link off"},
		{"the feature is there", "vnic.link-status-off", fake.Faults{Flip: []int{16}}, "feature bit 16"},
		{"the wire has the old address", "vnic.mac-change", fake.Faults{KeepMAC: true}, "frames to the host from the new address"},
		{"the filter has the old address", "vnic.mac-change[nic=virtio]", fake.Faults{KeepFilter: true}, "query-rx-filter main-mac"},
		{"no card appears", "vnic.hotplug-qmp", fake.Faults{NoHotplug: true}, "link after device_add"},
		{"the card carries nothing", "vnic.hotplug-qmp", fake.Faults{Loss: func(int) bool { return true }}, "ping through the card"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			results, err := fake.Run(t.TempDir(), vnic.Cases(), tt.selector, tt.faults)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				fake.MustFail(t, r, tt.check)
			}
		})
	}
}

// TestNoEject shows that a card that stays is the guest's fault, though the
// instance ends at a wait and not at a check.
func TestNoEject(t *testing.T) {
	results, err := fake.Run(t.TempDir(), vnic.Cases(), "vnic.hotplug-qmp", fake.Faults{NoEject: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Result != report.Fail || !strings.Contains(r.Reason, "no DEVICE_DELETED event") {
			t.Errorf("%s: %s: %s", r.Instance, r.Result, r.Reason)
		}
	}
}

// TestDeviationPrintsBoth shows that a relaxed criterion carries the seed's own.
func TestDeviationPrintsBoth(t *testing.T) {
	results, err := fake.Run(t.TempDir(), vnic.Cases(), "vnic.link-status-off", fake.Faults{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, c := range results[0].Checks {
		if strings.HasPrefix(c.Name, "operstate") {
			n++
			if c.Expected != "up" || !strings.HasPrefix(c.Seed, "unknown (deviation: ") {
				t.Errorf("%s: expected %q, seed %q", c.Name, c.Expected, c.Seed)
			}
		}
	}
	if n != 3 {
		t.Errorf("%d checks of operstate, want 3", n)
	}
}
