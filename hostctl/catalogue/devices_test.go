package catalogue_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/catalogue/internal/fake"
	"picolab/hostctl/report"
)

// vhostCase is a case on a card with vhost=on.
func vhostCase() *catalogue.Case {
	c := aCase("t.vhost", ok)
	c.Topology.Guests[0].NICs[0].Vhost = "on"
	return c
}

// TestVhostIsLookedAt shows that vhost=on is believed only of a QEMU that has
// the device open.
func TestVhostIsLookedAt(t *testing.T) {
	for _, tt := range []struct {
		faults fake.Faults
		want   report.Verdict
		got    string
	}{
		{fake.Faults{}, report.Pass, "/dev/net/tun /dev/vhost-net"},
		{fake.Faults{NoVhost: true}, report.Fail, "/dev/net/tun"},
	} {
		r := runAll(t, tt.faults, vhostCase())[0]
		if r.Result != tt.want || len(r.Checks) != 2 || r.Checks[0].Got != tt.got {
			t.Errorf("%+v: %s, checks %+v", tt.faults, r.Result, r.Checks)
		}
	}
	if r := runAll(t, fake.Faults{}, aCase("t.plain", ok))[0]; len(r.Checks) != 1 {
		t.Errorf("a card without vhost: checks %+v", r.Checks)
	}
}

// TestDevicesAreEvidence shows where the list of a guest's devices is left.
func TestDevicesAreEvidence(t *testing.T) {
	dir := t.TempDir()
	var results []report.Result
	if err := fake.Runner(dir, fake.Faults{}, &results).Run(t.Context(), planOf(t, vhostCase())); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("cases", "t.vhost", "a.devices.txt")
	if !strings.Contains(strings.Join(results[0].Evidence, " "), path) {
		t.Errorf("evidence %v", results[0].Evidence)
	}
	if b, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(b) != "/dev/net/tun\n/dev/vhost-net\n" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestNotOn shows which hosts can run which cases.
func TestNotOn(t *testing.T) {
	for _, tt := range []struct {
		where []catalogue.Tier
		no    string // kinds that cannot
	}{
		{[]catalogue.Tier{catalogue.Container}, ""},
		{[]catalogue.Tier{catalogue.Container, catalogue.Nested}, ""},
		{[]catalogue.Tier{catalogue.Nested}, "container"},
		{[]catalogue.Tier{catalogue.Metal}, "container vm"},
	} {
		c := aCase("t.x", ok)
		c.Where = tt.where
		for _, kind := range []string{"container", "vm", "metal", ""} {
			want := kind != "" && strings.Contains(tt.no, kind)
			if got := c.NotOn(kind); (got != "") != want {
				t.Errorf("%v on %q: %q", tt.where, kind, got)
			}
		}
	}
}

// TestWrongHostIsSkipped shows that a run on a host that is not enough says so.
func TestWrongHostIsSkipped(t *testing.T) {
	c := aCase("t.hardware", ok)
	c.Where = []catalogue.Tier{catalogue.Metal}
	var results []report.Result
	r := fake.Runner(t.TempDir(), fake.Faults{}, &results)
	r.Host.Kind = "vm"
	if err := r.Run(t.Context(), planOf(t, c)); err != nil {
		t.Fatal(err)
	}
	if results[0].Result != report.Skip || !strings.Contains(results[0].Reason, "HW") {
		t.Errorf("%+v", results[0])
	}
}
