package runs

import (
	"slices"
	"strings"
	"testing"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/internal/probe"
	"picolab/hostctl/report"
)

// TestStandIn shows what goes to the slow VM from a machine that has neither taps nor vhost_net: what
// our switch stands in for does not.
func TestStandIn(t *testing.T) {
	facts := map[string]report.Fact{}
	for _, name := range probe.Names() {
		facts[name] = report.Fact{Name: name, OK: name != probe.Tap && name != probe.VhostNet}
	}
	for _, tt := range []struct {
		name     string
		selector string
		profile  catalogue.Profile
		there    bool
	}{
		{"a tap, and the switch beside it", "vhostnet.data-transfer[nic=virtio,vhost=off]", catalogue.Quick, false},
		{"a tap that is asked for", "vhostnet.data-transfer[backend=tap,nic=virtio,vhost=off]", catalogue.Quick, true},
		{"everything", "vhostnet.data-transfer[nic=virtio,vhost=off]", catalogue.Full, true},
		{"the kernel's vhost, which nothing is like", "vhostnet.ping[nic=virtio,vhost=on]", catalogue.Quick, true},
		{"the host's own modules", "vnic.zerocopy", catalogue.Quick, true},
	} {
		plan, err := Options{Selectors: []string{tt.selector}, Profile: tt.profile}.Plan()
		if err != nil {
			t.Fatal(err)
		}
		shares := assign(plan, facts)
		checkWhole(t, plan, shares)
		there := slices.ContainsFunc(shares, func(s Share) bool { return s.Host.Kind == VM })
		if there != tt.there {
			t.Errorf("%s: on a VM %v:\n%s", tt.name, there, describeShares(shares))
		}
		if !there && !strings.Contains(strings.Join(shares[0].Why, "\n"), "stands in for it") {
			t.Errorf("%s: why %q", tt.name, shares[0].Why)
		}
	}
}
