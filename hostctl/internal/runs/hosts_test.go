package runs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/internal/probe"
	"picolab/hostctl/report"
)

func TestParseHost(t *testing.T) {
	for _, text := range []string{Container, VM, Auto, "metal=ssh://root@192.0.2.7", "metal=ssh://pc:2222/srv/images"} {
		if h, err := ParseHost(text); err != nil || h.String() != text {
			t.Errorf("%s: %v, %v", text, h, err)
		}
	}
	for _, text := range []string{"", "docker", "metal", "metal=", "metal=pc", "vm=x", "container=ssh://pc", "auto=vm"} {
		if h, err := ParseHost(text); err == nil {
			t.Errorf("%q was taken as %v", text, h)
		}
	}
}

// needing is a case with needs and places to run.
func needing(id string, where []catalogue.Tier, needs ...string) *catalogue.Case {
	return &catalogue.Case{ID: id, Title: "A case", Steps: []string{"one"}, Run: func(*catalogue.T) {}, Where: where, Needs: needs,
		Seed:     catalogue.Seed{Doc: "none.txt", Item: "1", Criterion: "none"},
		Topology: catalogue.OneGuest(), Matrix: catalogue.Cards()}
}

// several are cases of all kinds of needs.
func several() (*catalogue.Set, error) {
	anywhere := []catalogue.Tier{catalogue.Container, catalogue.Nested}
	return catalogue.NewSet([]*catalogue.Case{
		needing("t.tap", anywhere, probe.Tap),
		needing("t.module", anywhere, probe.Tap, "mod.bonding"),
		needing("t.nested", []catalogue.Tier{catalogue.Nested}, probe.Tap),
		needing("t.netmap", anywhere, probe.Netmap),
		needing("t.hardware", []catalogue.Tier{catalogue.Metal}, probe.Tap),
	})
}

// TestAssign shows, for machines that have this and that, which host each instance gets and why: testdata/assign/*.txtar
// hold what the machine lacks and the division.
func TestAssign(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join("testdata", "assign", "*.txtar"))
	if len(files) < 3 {
		t.Fatalf("only %v", files)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { checkAssign(t, file) })
	}
}

func checkAssign(t *testing.T, file string) {
	t.Helper()
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	facts := map[string]report.Fact{}
	for _, name := range probe.Names() {
		facts[name] = report.Fact{Name: name, OK: true}
	}
	for line := range strings.Lines(string(a.Files[0].Data)) {
		name, evidence, _ := strings.Cut(strings.TrimSpace(line), ": ")
		facts[name] = report.Fact{Name: name, Evidence: evidence}
	}
	plan, err := Options{Profile: catalogue.Full, Axes: map[string][]string{"nic": {"virtio"}}, cases: several}.Plan()
	if err != nil {
		t.Fatal(err)
	}
	shares := assign(plan, facts)
	checkWhole(t, plan, shares)
	got := describeShares(shares)
	if *update {
		a.Files[1].Data = []byte(got)
		if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := string(a.Files[1].Data); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// checkWhole shows that every instance is in exactly one share.
func checkWhole(t *testing.T, plan catalogue.Plan, shares []Share) {
	t.Helper()
	var all []string
	for _, s := range shares {
		all = append(all, s.Plan.IDs()...)
		if s.Plan.Profile != plan.Profile {
			t.Errorf("share of %s has profile %q", s.Host, s.Plan.Profile)
		}
	}
	want := plan.IDs()
	slices.Sort(all)
	slices.Sort(want)
	if !slices.Equal(all, want) {
		t.Errorf("shares have %v, the plan %v", all, want)
	}
}

func describeShares(shares []Share) string {
	var b strings.Builder
	for _, s := range shares {
		fmt.Fprintf(&b, "host %s\n", s.Host)
		for _, g := range s.Plan.Groups {
			fmt.Fprintf(&b, "  boot %s\n", g.Topology)
			for _, in := range g.Instances {
				fmt.Fprintf(&b, "    %s\n", in.ID())
			}
		}
		for _, why := range s.Why {
			fmt.Fprintf(&b, "  why %s\n", why)
		}
	}
	return b.String()
}

// TestNobodyHasIt shows the words of a SKIP when more than one host was thought of.
func TestNobodyHasIt(t *testing.T) {
	facts := []report.Fact{{Name: probe.Netmap, Evidence: "no /dev/netmap"}, {Name: probe.VhostNet, Evidence: "no /dev/vhost-net"}, {Name: probe.VFIO, OK: true}}
	got := alsoNotVM(facts)
	if got[0].Evidence != "no /dev/netmap; the host image as a VM has none either" || got[1].Evidence != "no /dev/vhost-net" || !got[2].OK {
		t.Errorf("%+v", got)
	}
	if facts[0].Evidence != "no /dev/netmap" {
		t.Error("the facts themselves were changed")
	}
}

// TestMemory shows that a host VM has room for the largest lab of its plan.
func TestMemory(t *testing.T) {
	for selector, want := range map[string]int{"vhostnet.ping": vmMemory + guestMemory, "vhostnet.vlan": vmMemory + 2*guestMemory} {
		plan, err := Options{Selectors: []string{selector}, Profile: catalogue.Quick}.Plan()
		if err != nil {
			t.Fatal(err)
		}
		if got := memoryFor(plan); got != want {
			t.Errorf("%s: %d MiB, want %d", selector, got, want)
		}
	}
}
