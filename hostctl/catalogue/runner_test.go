package catalogue_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"picolab/guestagent/client"
	"picolab/hostctl/catalogue"
	"picolab/hostctl/catalogue/internal/fake"
	"picolab/hostctl/lab"
	"picolab/hostctl/report"
)

// aCase is a case that is right but for what a test changes.
func aCase(id string, run func(*catalogue.T)) *catalogue.Case {
	return &catalogue.Case{ID: id, Title: "A case of a test", Steps: []string{"one"}, Run: run,
		Seed:  catalogue.Seed{Doc: "none.txt", Item: "1", Criterion: "none"},
		Where: []catalogue.Tier{catalogue.Container}, Topology: fixed("virtio"),
		Params: catalogue.Params{Full: catalogue.Values{"n": "1"}}}
}

// fixed is a topology without placeholders.
func fixed(model string) catalogue.Topology {
	return catalogue.Topology{Links: []catalogue.Link{{Name: "lan"}},
		Guests: []catalogue.Guest{{Name: "a", NICs: []catalogue.NIC{{Model: model, Link: "lan"}}}}}
}

func ok(t *catalogue.T) { t.Check("fine", 1, 1, true, "") }

// planOf makes a plan of cases.
func planOf(t *testing.T, cases ...*catalogue.Case) catalogue.Plan {
	t.Helper()
	set, err := catalogue.NewSet(cases)
	if err != nil {
		t.Fatal(err)
	}
	sel, err := set.Select(nil, nil, catalogue.Quick)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := catalogue.NewPlan(sel, catalogue.Quick)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// runAll runs cases on fakes.
func runAll(t *testing.T, f fake.Faults, cases ...*catalogue.Case) []report.Result {
	t.Helper()
	var results []report.Result
	if err := fake.Runner(t.TempDir(), f, &results).Run(t.Context(), planOf(t, cases...)); err != nil {
		t.Fatal(err)
	}
	return results
}

// runOn runs a case that is given the fake lab that it runs on, and what the lab calls when a kernel says something.
func runOn(t *testing.T, run func(t *catalogue.T, l *fake.Lab, tell func(catalogue.Finding))) report.Result {
	t.Helper()
	var booted *fake.Lab
	var tell func(catalogue.Finding)
	var results []report.Result
	r := fake.Runner(t.TempDir(), fake.Faults{}, &results)
	r.Boot = func(_ context.Context, top catalogue.Topology, _ string, found func(catalogue.Finding)) (catalogue.Booted, error) {
		booted, tell = fake.New(top, fake.Faults{}), found
		return booted, nil
	}
	if err := r.Run(t.Context(), planOf(t, aCase("s.c", func(t *catalogue.T) { run(t, booted, tell) }))); err != nil {
		t.Fatal(err)
	}
	return results[0]
}

// TestVerdicts shows whose fault each kind of end is said to be.
func TestVerdicts(t *testing.T) {
	tests := []struct {
		name   string
		run    func(*catalogue.T)
		want   report.Verdict
		reason string
	}{
		{"checks hold", ok, report.Pass, ""},
		{"a check does not hold", func(t *catalogue.T) { t.Check("two", 2, 3, false, "") }, report.Fail, "two: expected 2, got 3"},
		{"a check does not hold and the next does", func(t *catalogue.T) { t.Check("two", 2, 3, false, ""); ok(t) }, report.Fail, "two"},
		{"nothing is checked", func(*catalogue.T) {}, report.Error, "made no check"},
		{"fatal", func(t *catalogue.T) { t.Fatalf("no link") }, report.Fail, "no link"},
		{"skip", func(t *catalogue.T) { ok(t); t.Skipf("no module") }, report.Skip, "no module"},
		{"skip after a failed check", func(t *catalogue.T) { t.Check("x", 1, 2, false, ""); t.Skipf("no") }, report.Fail, "x: expected"},
		{"our error", func(t *catalogue.T) { t.Errorf("disk full") }, report.Error, "disk full"},
		{"our error after a failed check", func(t *catalogue.T) { t.Check("x", 1, 2, false, ""); t.Errorf("disk full") }, report.Error, "disk full"},
		{"expected to fail and fails", func(t *catalogue.T) { t.XFail("bug 1"); t.Check("x", 1, 2, false, "") }, report.XFail, "bug 1: x"},
		{"expected to fail and passes", func(t *catalogue.T) { t.XFail("bug 1"); ok(t) }, report.XPass, "bug 1"},
		{"expected to fail and breaks", func(t *catalogue.T) { t.XFail("bug 1"); t.Errorf("ours") }, report.Error, "ours"},
		{"degraded", func(t *catalogue.T) { ok(t); t.Degraded("3%% lost") }, report.Degraded, "3% lost"},
		{"degraded and failed", func(t *catalogue.T) { t.Check("x", 1, 2, false, ""); t.Degraded("3%% lost") }, report.Fail, "x"},
		{"a guest the topology does not have", func(t *catalogue.T) { t.Guest("z") }, report.Error, `no guest "z"`},
		{"an axis it does not have", func(t *catalogue.T) { t.Axis("z") }, report.Error, `no axis "z"`},
		{"a parameter it does not have", func(t *catalogue.T) { t.Int("z") }, report.Error, `no parameter "z"`},
		{"a parameter of another kind", func(t *catalogue.T) { t.Duration("n") }, report.Error, "parameter n"},
		{"a deviation it does not list", func(t *catalogue.T) { t.Deviate("z", "", true, "") }, report.Error, `no deviation for check "z"`},
		{"a panic", func(*catalogue.T) { panic("index out of range") }, report.Error, "panicked: index out of range"},
		{"the guest's kernel refuses", func(t *catalogue.T) { t.Guest("a").SetMTU("eth0", 1<<20) }, report.Fail, "a: set link eth0"},
		{"the guest lacks a link", func(t *catalogue.T) { t.Guest("a").SetUp("eth7", true) }, report.Fail, `no link "eth7"`},
		{"the host lacks a link", func(t *catalogue.T) { t.Host().SetUp("eth7", true) }, report.Error, `no link "eth7"`},
		{"QEMU refuses", func(t *catalogue.T) { t.Guest("a").QMP("nonsense", nil, nil) }, report.Error, "qmp nonsense"},
		{"no event", func(t *catalogue.T) { t.Guest("a").Event("X", nil) }, report.Fail, "no X event"},
		{"fatal in one of two at a time", func(t *catalogue.T) {
			t.Together(func() { ok(t) }, func() { t.Fatalf("second") })
		}, report.Fail, "second"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := runAll(t, fake.Faults{}, aCase("s.c", tt.run))[0]
			if r.Result != tt.want || !strings.Contains(r.Reason, tt.reason) {
				t.Errorf("got %s (%s), want %s (%s)", r.Result, r.Reason, tt.want, tt.reason)
			}
			if err := r.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOops shows that what a kernel says wins over every other end, on the
// console as in its log, and that the text is in the reason.
func TestOops(t *testing.T) {
	const line = "BUG: kernel NULL pointer dereference, address: 0000000000000008"
	log := aCase("s.log", func(t *catalogue.T) {
		t.Host().Ping(client.PingOptions{Target: t.Guest("a").Addr(0), Flood: true, Count: 1})
		t.Errorf("connection lost")
	})
	r := runAll(t, fake.Faults{Oops: line}, log)[0]
	if r.Result != report.Fail || !strings.Contains(r.Reason, line) {
		t.Errorf("kernel log: %s: %s", r.Result, r.Reason)
	}
}

// TestDeadKernel shows that a kernel that dies ends an instance at once.
func TestDeadKernel(t *testing.T) {
	panicked := catalogue.Finding{Guest: "a", Kind: "panic", Title: "Kernel panic - not syncing", Text: "Kernel panic - not syncing: x", Fatal: true}
	var cause error
	r := runOn(t, func(t *catalogue.T, l *fake.Lab, tell func(catalogue.Finding)) {
		l.Say(0, panicked)
		tell(panicked)
		<-t.Context().Done()
		cause = context.Cause(t.Context())
	})
	if r.Result != report.Fail || !strings.Contains(r.Reason, "Kernel panic") {
		t.Errorf("%s: %s", r.Result, r.Reason)
	}
	if cause == nil || !strings.Contains(cause.Error(), "it died") {
		t.Errorf("ended by %v", cause)
	}
}

// TestKnownCrash shows that only the crash of a named defect is expected.
func TestKnownCrash(t *testing.T) {
	const title, trace = "kernel BUG at lib/x.c", "kernel BUG at lib/x.c:9!\n  cp_interrupt+0x2c4/0x490 [8139cp]"
	panicked := catalogue.Finding{Guest: "a", Kind: "panic", Title: "guest panicked", Fatal: true}
	for _, tt := range []struct {
		name   string
		found  []catalogue.Finding
		want   report.Verdict
		reason string
	}{
		{"none", nil, report.Pass, ""},
		{"it", []catalogue.Finding{{Guest: "a", Kind: "bug", Title: title, Text: trace}, panicked}, report.XFail,
			"defect 1: guest a: kernel said bug: kernel BUG at lib/x.c (and 1 more)"},
		{"elsewhere", []catalogue.Finding{{Guest: "a", Kind: "bug", Title: "kernel BUG at lib/y.c", Text: trace}}, report.Fail, "lib/y.c"},
		{"another's", []catalogue.Finding{{Guest: "a", Kind: "bug", Title: title, Text: "e1000_intr+0x2c4/0x490 [e1000]"}}, report.Fail, "lib/x.c"},
		{"no report", []catalogue.Finding{panicked}, report.Fail, "guest panicked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := runOn(t, func(t *catalogue.T, l *fake.Lab, _ func(catalogue.Finding)) {
				t.XFailCrash(title, "8139cp", "defect 1")
				ok(t)
				for _, f := range tt.found {
					l.Say(0, f)
				}
			})
			if r.Result != tt.want || !strings.Contains(r.Reason, tt.reason) {
				t.Errorf("%s: %s", r.Result, r.Reason)
			}
		})
	}
}

// TestLastBreath shows that a guest that dies when all checks have held is no
// PASS: the kernel's fault if it says so, and unknown otherwise.
func TestLastBreath(t *testing.T) {
	for _, says := range []bool{true, false} {
		r := runOn(t, func(t *catalogue.T, l *fake.Lab, _ func(catalogue.Finding)) {
			ok(t)
			l.Kill(0)
			if says {
				l.Say(0, catalogue.Finding{Guest: "a", Kind: "panic", Title: "Kernel panic", Text: "why", Fatal: true})
			}
		})
		want, reason := report.Error, "after the case: links of a: connection to the agent lost"
		if says {
			want, reason = report.Fail, "Kernel panic\nwhy"
		}
		if r.Result != want || !strings.Contains(r.Reason, reason) {
			t.Errorf("says %v: %s: %s", says, r.Result, r.Reason)
		}
	}
}

// TestSharing shows how many boots a plan takes.
func TestSharing(t *testing.T) {
	other := aCase("s.other", ok)
	other.Topology = fixed("e1000")
	bad := aCase("s.bad", func(t *catalogue.T) { t.Check("x", 1, 2, false, "") })
	skip := aCase("s.skip", func(t *catalogue.T) { t.Skipf("no") })
	unmet := aCase("s.unmet", ok)
	unmet.Needs = []string{"hugepages"}
	tests := []struct {
		name  string
		cases []*catalogue.Case
		boots int
	}{
		{"one topology", []*catalogue.Case{aCase("s.a", ok), aCase("s.b", ok), skip}, 1},
		{"two topologies, mixed", []*catalogue.Case{aCase("s.a", ok), other, aCase("s.b", ok)}, 2},
		{"a failure in between", []*catalogue.Case{aCase("s.a", ok), bad, aCase("s.b", ok)}, 2},
		{"a failure at the end", []*catalogue.Case{aCase("s.a", ok), bad}, 1},
		{"a need that is not met", []*catalogue.Case{unmet}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var results []report.Result
			r := fake.Runner(t.TempDir(), fake.Faults{}, &results)
			r.Probes["hugepages"] = report.Fact{Name: "hugepages", Evidence: "none reserved"}
			boots := 0
			boot := r.Boot
			r.Boot = func(ctx context.Context, top catalogue.Topology, dir string, found func(catalogue.Finding)) (catalogue.Booted, error) {
				boots++
				return boot(ctx, top, dir, found)
			}
			if err := r.Run(t.Context(), planOf(t, tt.cases...)); err != nil {
				t.Fatal(err)
			}
			if boots != tt.boots || len(results) != len(tt.cases) {
				t.Errorf("%d boots for %d results, want %d for %d", boots, len(results), tt.boots, len(tt.cases))
			}
		})
	}
}

// TestNeeds shows that a missing need is a SKIP with the probe's evidence, and
// one that nothing probes an ERROR.
func TestNeeds(t *testing.T) {
	var results []report.Result
	r := fake.Runner(t.TempDir(), fake.Faults{}, &results)
	r.Probes = map[string]report.Fact{"root.tap": {Name: "root.tap", Evidence: "open /dev/net/tun: no such file or directory"}}
	tap, odd := aCase("s.tap", ok), aCase("s.odd", ok)
	tap.Needs, odd.Needs = []string{"root.tap"}, []string{"antigravity"}
	if err := r.Run(t.Context(), planOf(t, tap, odd)); err != nil {
		t.Fatal(err)
	}
	if r := results[0]; r.Result != report.Skip || !strings.Contains(r.Reason, "/dev/net/tun: no such file") {
		t.Errorf("%s: %s", r.Result, r.Reason)
	}
	if r := results[1]; r.Result != report.Error || !strings.Contains(r.Reason, "antigravity") {
		t.Errorf("%s: %s", r.Result, r.Reason)
	}
}

// TestLeftChanged shows that what an instance does not put back is noticed, and
// that the next gets a fresh lab.
func TestLeftChanged(t *testing.T) {
	change := aCase("s.change", func(t *catalogue.T) { ok(t); t.Guest("a").SetMTU("eth0", 4000) })
	results := runAll(t, fake.Faults{}, change)
	if n := results[0].Notes; len(n) != 0 {
		t.Errorf("put back, and yet: %v", n)
	}
	results = runAll(t, fake.Faults{Forget: true}, change, aCase("s.next", ok))
	if n := strings.Join(results[0].Notes, " "); !strings.Contains(n, "fresh lab: a eth0 was") {
		t.Errorf("not noticed: %v", n)
	}
	if results[1].Result != report.Pass {
		t.Errorf("next: %s: %s", results[1].Result, results[1].Reason)
	}
}

// TestBootFails shows whose fault a lab is that does not boot, and that the
// third instance does not wait for it again.
func TestBootFails(t *testing.T) {
	tests := []struct {
		err  error
		want report.Verdict
	}{
		{&lab.GuestError{Guest: "a", Err: errors.New("no Hello"), Console: []string{"last line"}}, report.Fail},
		{&lab.InfraError{Err: errors.New("no QEMU")}, report.Error},
		{&lab.SpecError{Problems: []string{"x"}}, report.Error},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%T", tt.err), func(t *testing.T) {
			var results []report.Result
			r := fake.Runner(t.TempDir(), fake.Faults{}, &results)
			boots := 0
			r.Boot = func(context.Context, catalogue.Topology, string, func(catalogue.Finding)) (catalogue.Booted, error) {
				boots++
				return nil, tt.err
			}
			if err := r.Run(t.Context(), planOf(t, aCase("s.a", ok), aCase("s.b", ok), aCase("s.c", ok))); err != nil {
				t.Fatal(err)
			}
			if results[0].Result != tt.want || !strings.Contains(results[0].Reason, tt.err.Error()) {
				t.Errorf("%s: %s", results[0].Result, results[0].Reason)
			}
			if boots != 2 || results[2].Result != report.Error || !strings.Contains(results[2].Reason, "not tried again") {
				t.Errorf("%d boots; third: %s: %s", boots, results[2].Result, results[2].Reason)
			}
		})
	}
}

// TestBootsAgain shows that a QEMU that aborts once costs an instance a boot and a
// note, not its verdict.
func TestBootsAgain(t *testing.T) {
	var results []report.Result
	r := fake.Runner(t.TempDir(), fake.Faults{}, &results)
	boot, boots := r.Boot, 0
	r.Boot = func(ctx context.Context, top catalogue.Topology, dir string, found func(catalogue.Finding)) (catalogue.Booted, error) {
		if boots++; boots == 1 {
			return nil, &lab.InfraError{Err: errors.New("signal: aborted")}
		}
		return boot(ctx, top, dir, found)
	}
	if err := r.Run(t.Context(), planOf(t, aCase("s.a", ok))); err != nil {
		t.Fatal(err)
	}
	if got := results[0]; boots != 2 || got.Result != report.Pass || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "second time: boot") || !strings.Contains(got.Notes[0], "aborted") {
		t.Errorf("%d boots, %s: %s, %q", boots, got.Result, got.Reason, got.Notes)
	}
}

func TestFailFast(t *testing.T) {
	var results []report.Result
	r := fake.Runner(t.TempDir(), fake.Faults{}, &results)
	r.FailFast = true
	bad := aCase("s.bad", func(t *catalogue.T) { t.Fatalf("x") })
	if err := r.Run(t.Context(), planOf(t, aCase("s.a", ok), bad, aCase("s.c", ok))); err != nil {
		t.Fatal(err)
	}
	if len(results) != 2 {
		t.Errorf("%d results, want 2", len(results))
	}
}

// TestInterrupt shows that an interrupted instance has no result, that what was
// done is kept, and that the lab is taken down.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var results []report.Result
	var booted *fake.Lab
	r := fake.Runner(t.TempDir(), fake.Faults{}, &results)
	r.Boot = func(_ context.Context, top catalogue.Topology, _ string, _ func(catalogue.Finding)) (catalogue.Booted, error) {
		booted = fake.New(top, fake.Faults{})
		return booted, nil
	}
	undone := false
	stuck := aCase("s.stuck", func(t *catalogue.T) {
		t.Cleanup(func() { undone = t.Context().Err() == nil })
		cancel()
		<-t.Context().Done()
	})
	err := r.Run(ctx, planOf(t, aCase("s.a", ok), stuck, aCase("s.c", ok)))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want cancelled", err)
	}
	if len(results) != 1 || booted.Downs != 1 || !undone {
		t.Errorf("%d results, %d times down, cleaned up %v; want 1, 1, true", len(results), booted.Downs, undone)
	}
}

// TestCleanups shows their order, and that one that breaks does not keep the
// others from running nor change the verdict.
func TestCleanups(t *testing.T) {
	var order []string
	c := aCase("s.c", func(t *catalogue.T) {
		ok(t)
		t.Cleanup(func() { order = append(order, "first") })
		t.Cleanup(func() { t.Host().SetUp("nowhere", true) })
		t.Cleanup(func() { panic("third") })
		t.Cleanup(func() { order = append(order, "last") })
		t.Fatalf("the verdict")
	})
	r := runAll(t, fake.Faults{}, c)[0]
	if strings.Join(order, " ") != "last first" {
		t.Errorf("order %v", order)
	}
	if r.Result != report.Fail || r.Reason != "the verdict" {
		t.Errorf("%s: %s", r.Result, r.Reason)
	}
	if n := strings.Join(r.Notes, "\n"); !strings.Contains(n, "cleanup: host: find link") || !strings.Contains(n, "third") {
		t.Errorf("notes %q", n)
	}
}

// TestLimit shows that a case that goes round for ever is ended, as ours.
func TestLimit(t *testing.T) {
	c := aCase("s.c", func(t *catalogue.T) {
		for t.Context().Err() == nil {
			t.Guest("a").Links()
		}
	})
	r := runAll(t, fake.Faults{}, c)[0]
	if r.Result != report.Error || !strings.Contains(r.Reason, "time is up") {
		t.Errorf("%s: %s", r.Result, r.Reason)
	}
}

// TestEvidence shows that an instance's folder has what it lists.
func TestEvidence(t *testing.T) {
	dir := t.TempDir()
	var results []report.Result
	c := aCase("s.c", func(t *catalogue.T) {
		ok(t)
		if err := os.WriteFile(t.File("own.txt"), []byte("x"), 0o600); err != nil {
			t.Errorf("%v", err)
		}
	})
	if err := fake.Runner(dir, fake.Faults{}, &results).Run(t.Context(), planOf(t, c)); err != nil {
		t.Fatal(err)
	}
	want := []string{"cases/s.c/lan.pcapng", "cases/s.c/a.devices.txt", "cases/s.c/own.txt", "cases/s.c/a.argv.txt", "cases/s.c/a.dmesg"}
	if got := results[0].Evidence; strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("evidence %v, want %v", got, want)
	}
	for _, f := range results[0].Evidence {
		if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
			t.Error(err)
		}
	}
}
