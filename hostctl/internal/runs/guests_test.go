package runs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/internal/place"
	"picolab/hostctl/report"
)

// sabotageEntry is the sandbox entry of runs whose cases meet what they are to
// find.
const sabotageEntry = "run-sabotaged"

// sabotaged are cases of the catalogue on guests that misbehave.
func sabotaged() (*catalogue.Set, error) {
	set, err := Catalogue()
	if err != nil {
		return nil, err
	}
	return catalogue.NewSet([]*catalogue.Case{
		cutWire(*set.Case("vhostnet.ping")),
		sameVLAN(*set.Case("vhostnet.vlan")),
		swapTopology(*set.Case("vnic.features-default"), set.Case("vnic.features-off").Topology),
		swapTopology(*set.Case("vnic.features-off"), catalogue.OneGuest()),
		noROM(*set.Case("vnic.pxe")),
		noWire(*set.Case("vhostnet.multicast")),
	})
}

// cutWire takes the tap down in the middle of the case.
func cutWire(c catalogue.Case) *catalogue.Case {
	run := c.Run
	c.Run = func(t *catalogue.T) {
		t.Together(func() { run(t) }, func() {
			looks := 0
			t.Poll("link", func() bool { looks++; return looks > 20 })
			t.Host().SetUp(t.Guest("a").Card(0).Tap, false)
		})
	}
	return &c
}

// noWire pulls the card's cable out before the case begins.
func noWire(c catalogue.Case) *catalogue.Case {
	run := c.Run
	c.Run = func(t *catalogue.T) {
		guest := t.Guest("a")
		guest.QMP("set_link", catalogue.Args{"name": guest.Card(0).Device, "up": false}, nil)
		run(t)
	}
	return &c
}

// sameVLAN has both guests join one VLAN from the start.
func sameVLAN(c catalogue.Case) *catalogue.Case {
	quick := catalogue.Values{"second": "10"}
	for k, v := range c.Params.Quick {
		quick[k] = v
	}
	c.Params.Quick = quick
	return &c
}

// swapTopology runs a case on a guest whose card is set up the other way.
func swapTopology(c catalogue.Case, top catalogue.Topology) *catalogue.Case {
	c.Topology = top
	return &c
}

// noROM takes the boot ROM out of the card that is to have one.
func noROM(c catalogue.Case) *catalogue.Case {
	c.Topology = catalogue.NetGuest(catalogue.ROMEmpty).OnBackends()
	c.Matrix.Axes = slices.Clone(c.Matrix.Axes)
	for i := range c.Matrix.Axes {
		if c.Matrix.Axes[i].Name == "romfile" {
			c.Matrix.Axes[i].Values = []string{catalogue.ROMShipped}
		}
	}
	return &c
}

// real returns options of a run with real guests, or skips.
func real(t *testing.T) Options {
	t.Helper()
	images := os.Getenv("PICOLAB_IMAGES")
	if images == "" {
		t.Skip("PICOLAB_IMAGES not set: run make test")
	}
	images, err := filepath.Abs(images)
	if err != nil {
		t.Fatal(err)
	}
	p := place.Place{Images: images, Cache: t.TempDir()}
	var out testWriter = t.Log
	return Options{Profile: catalogue.Quick, Axes: map[string][]string{"nic": {"virtio"}, "vhost": {"off"}, "backend": {"tap"}, "machine": {"q35"}}, Accel: "auto",
		Place: p, Dir: filepath.Join(t.TempDir(), "run"), Stdout: out, Stderr: out}
}

// testWriter passes output on to a test's log.
type testWriter func(...any)

func (w testWriter) Write(p []byte) (int, error) {
	w(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// needTap skips where the run skipped for want of a tap.
func needTap(t *testing.T, out *report.Outcome) {
	t.Helper()
	if out.Executed() == 0 && len(out.Results) > 0 {
		t.Skip(out.Results[0].Reason)
	}
}

// TestSabotage shows on real guests that cases find what is wrong.
func TestSabotage(t *testing.T) {
	t.Parallel()
	o := real(t)
	o.cases, o.entry = sabotaged, sabotageEntry
	out, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	needTap(t, out)
	want := map[string]string{
		"vhostnet.ping":         "100% packet loss",
		"vhostnet.vlan":         "ping from VLAN 10 to 10: expected 100% packet loss, got 0% packet loss",
		"vnic.features-default": "feature bit 28 (indirect_desc): expected 1, got 0",
		"vnic.features-off":     "feature bit 29 (event_idx): expected 0, got 1",
		"vhostnet.multicast":    "packet to 01:00:5e:c0:01:64: expected captured, got not captured",
		"vnic.pxe":              "TFTP read requests in the capture: expected at least 1, got 0",
	}
	for _, r := range out.Results {
		if r.Result != report.Fail || !strings.Contains(r.Reason, want[r.Case]) {
			t.Errorf("%s: %s: %s; want a FAIL with %q", r.Instance, r.Result, r.Reason, want[r.Case])
		}
		delete(want, r.Case)
	}
	if len(want) > 0 || out.ExitCode() != report.ExitFail {
		t.Errorf("no result for %v; exit code %d", want, out.ExitCode())
	}
	checkMidWay(t, out.Results)
}

// checkMidWay shows that the wire was cut in the middle: something passed.
func checkMidWay(t *testing.T, results []report.Result) {
	t.Helper()
	for _, r := range results {
		if r.Case == "vhostnet.ping" && (len(r.Checks) == 0 || strings.HasPrefix(r.Checks[0].Got, "100%")) {
			t.Errorf("nothing of %s passed: %+v", r.Instance, r.Checks)
		}
	}
}

// TestGuests runs cases that need one boot for real and looks at what is left.
func TestGuests(t *testing.T) {
	t.Parallel()
	o := real(t)
	o.Selectors = []string{"vnic.driver-info", "vnic.features-default", "vnic.link-status-on", "vhostnet.ping-oversize"}
	out, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	needTap(t, out)
	if out.ExitCode() != report.ExitGreen || out.Count(report.Pass) != 4 {
		t.Errorf("exit code %d, %d PASS of 4: %+v", out.ExitCode(), out.Count(report.Pass), out.Results)
	}
	boots := 0
	for _, r := range out.Results {
		if r.Boot > 0 {
			boots++
		}
		if r.Image != out.Run.Image || r.Image == "" {
			t.Errorf("%s: image %q, run has %q", r.Instance, r.Image, out.Run.Image)
		}
		checkEvidence(t, o.Dir, r)
	}
	if boots != 1 {
		t.Errorf("%d boots for one topology", boots)
	}
}

// checkEvidence looks at an instance's files; tcpdump(8) judges the captures.
func checkEvidence(t *testing.T, dir string, r report.Result) {
	t.Helper()
	kinds := []string{"lan.pcapng", "a.console.log", "a.qmp.log", "a.dmesg", "a.argv.txt"}
	for _, kind := range kinds {
		named := func(f string) bool { return filepath.Base(f) == kind }
		i := slices.IndexFunc(r.Evidence, named)
		if i < 0 {
			t.Errorf("%s: no %s in %v", r.Instance, kind, r.Evidence)
			continue
		}
		path := filepath.Join(dir, r.Evidence[i])
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
		if kind == "lan.pcapng" {
			readable(t, path)
		}
	}
}

func readable(t *testing.T, capture string) {
	t.Helper()
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Log("tcpdump(8) not installed: captures are not judged")
		return
	}
	if out, err := exec.Command(tcpdump, "-nr", capture).CombinedOutput(); err != nil {
		t.Errorf("tcpdump -r %s: %v\n%s", capture, err, out)
	}
}

// TestInterruptGuests stops a run in a flood: what was done is kept, the rest is
// reported as not run, and it is over soon.
func TestInterruptGuests(t *testing.T) {
	o := real(t)
	o.Selectors = []string{"vnic.driver-info", "vhostnet.ping-flood"}
	o.Profile = catalogue.Full
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch := make(chan struct{})
	go func() {
		defer close(watch)
		stopAtFlood(ctx, cancel, o.Dir)
	}()
	start := time.Now()
	out, err := Run(ctx, o)
	cancel()
	<-watch
	if err != nil {
		t.Fatal(err)
	}
	needTap(t, out)
	if !out.Interrupted || out.ExitCode() != report.ExitInterrupted {
		t.Errorf("interrupted %v, exit code %d", out.Interrupted, out.ExitCode())
	}
	if len(out.Results)+len(out.Missing()) != 2 || len(out.Missing()) == 0 {
		t.Errorf("%d results, missing %v", len(out.Results), out.Missing())
	}
	t.Logf("over after %v", time.Since(start))
}

// stopAtFlood cancels once the flood's evidence folder is there.
func stopAtFlood(ctx context.Context, cancel func(), dir string) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if found, _ := filepath.Glob(filepath.Join(dir, casesDir, "vhostnet.ping-flood", "*")); len(found) > 0 {
				cancel()
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
