package runs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/internal/place"
	"picolab/hostctl/internal/probe"
	"picolab/hostctl/internal/sandbox"
	"picolab/hostctl/report"
	"picolab/images/manifest"
)

// Entries of a run on host VMs whose cases do to the host what hosts do: outside, and in the VM.
const (
	frailEntry  = "run-vm-frail"
	frailInside = "run-frail"
)

func init() {
	sandbox.Register(frailEntry, insideVM(frail, frailInside))
	sandbox.Register(frailInside, insideWith(frail))
}

// frail are cases without guests.
func frail() (*catalogue.Set, error) {
	return catalogue.NewSet([]*catalogue.Case{
		alone("t.first", func(t *catalogue.T) { t.Check("host kernel", "any", hostCommandLine(), true, "") }),
		alone("t.panic", panicHost),
		alone("t.second", func(t *catalogue.T) { t.Check("host kernel", "any", hostCommandLine(), true, "") }),
	})
}

func alone(id string, run func(*catalogue.T)) *catalogue.Case {
	return &catalogue.Case{ID: id, Title: "A case of a test", Steps: []string{"one"}, Run: run, Where: []catalogue.Tier{catalogue.Container},
		Seed: catalogue.Seed{Doc: "none.txt", Item: "1", Criterion: "none"}}
}

func hostCommandLine() string {
	b, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// panicHost ends the kernel it runs on, when that is a host VM's.
func panicHost(t *catalogue.T) {
	if !strings.Contains(hostCommandLine(), "picolab.root=") {
		t.Errorf("not in a host VM: %s", hostCommandLine())
	}
	t.Pace(time.Second) // into the middle of the case: that it began is known outside
	if err := os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0); err != nil {
		t.Errorf("panic: %v", err)
	}
	<-t.Context().Done()
}

// nested returns options of a run on host VMs, or skips: their boots, and still more the boots in them, take minutes
// under TCG.
func nested(t *testing.T) Options {
	t.Helper()
	if os.Getenv("PICOLAB_NESTED") == "" {
		t.Skip("PICOLAB_NESTED not set: run make nested")
	}
	o := real(t)
	o.Host, o.Axes = Host{Kind: VM}, nil
	return o
}

// TestNested runs what the container of most machines cannot in one host VM: cases with vhost=on, all on one guest, and one
// that loads modules.
func TestNested(t *testing.T) {
	o := nested(t)
	o.Selectors = []string{"vnic.zerocopy", "vhostnet.ping", "vhostnet.jumbo", "vhostnet.data-transfer"}
	o.Axes = map[string][]string{"nic": {"virtio"}, "vhost": {"on"}, "machine": {"q35"}, "backend": {"tap"}}
	out, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if vms, _ := filepath.Glob(filepath.Join(o.Dir, hostsDir, "*")); len(vms) != 1 {
		t.Errorf("host VMs %q", vms)
	}
	boots := 0
	for _, r := range out.Results {
		if r.Result != report.Pass {
			t.Errorf("%s: %s: %s", r.Instance, r.Result, r.Reason)
		}
		if r.Host.Kind != VM || out.Run.Parts[0].Host != r.Host {
			t.Errorf("%s: host %+v, parts %+v", r.Instance, r.Host, out.Run.Parts)
		}
		t.Logf("%s: accelerator inside %s; boot inside %.1f s; the case %.1f s", r.Instance, r.Host.Accel, r.Boot, r.Seconds-r.Boot)
		if !strings.HasPrefix(r.Case, "vhostnet.") {
			continue
		}
		if r.Boot > 0 {
			boots++
		}
		checkDevices(t, o.Dir, r)
	}
	if len(out.Results) != len(o.Selectors) || boots != 1 || out.ExitCode() != report.ExitGreen {
		t.Errorf("%d results, %d boots with vhost, exit code %d", len(out.Results), boots, out.ExitCode())
	}
	t.Logf("all %.1f s", out.Seconds)
}

// checkDevices looks at what the inner QEMU had open.
func checkDevices(t *testing.T, dir string, r report.Result) {
	t.Helper()
	i := slices.IndexFunc(r.Evidence, func(f string) bool { return filepath.Base(f) == "a.devices.txt" })
	if i < 0 {
		t.Fatalf("no list of devices in %v", r.Evidence)
	}
	open, err := os.ReadFile(filepath.Join(dir, r.Evidence[i]))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"/dev/vhost-net\n", "/dev/vhost-vsock\n"} {
		if !strings.Contains(string(open), want) {
			t.Errorf("no %q in %q", want, open)
		}
	}
}

// TestHostPanics has the host VM's kernel die in the middle of a case: that case is an ERROR which says so, with the
// console; the others run, on another VM.
func TestHostPanics(t *testing.T) {
	o := nested(t)
	o.cases, o.entry = frail, frailEntry
	out, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]report.Verdict{"t.first": report.Pass, "t.panic": report.Error, "t.second": report.Pass}
	for _, r := range out.Results {
		if r.Result != want[r.Case] {
			t.Errorf("%s: %s: %s", r.Case, r.Result, r.Reason)
		}
		if r.Case == "t.panic" && (!strings.Contains(r.Reason, "its kernel died: ") || !strings.Contains(r.Reason, "console: ") || len(r.Evidence) != 3) {
			t.Errorf("reason %s\nevidence %v", r.Reason, r.Evidence)
		}
	}
	// The first two shared a VM.
	if vms, _ := filepath.Glob(filepath.Join(o.Dir, hostsDir, "*")); len(vms) != 2 {
		t.Errorf("host VMs %q", vms)
	}
	if len(out.Results) != 3 || out.ExitCode() != report.ExitError || len(out.Run.Parts) == 0 {
		t.Errorf("%d results, exit code %d, parts %+v", len(out.Results), out.ExitCode(), out.Run.Parts)
	}
}

// TestDoctorVM boots the host image and asks it.
func TestDoctorVM(t *testing.T) {
	o := nested(t)
	answers, err := Doctor(t.Context(), o.Host, o.Place, o.Accel, o.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{probe.HostVM, probe.Sandbox, probe.Tap, probe.VhostNet, probe.VhostVsock, probe.QEMU} {
		if i := slices.IndexFunc(answers, func(p probe.Probe) bool { return p.Name == name }); i < 0 || !answers[i].OK {
			t.Errorf("%s: %+v", name, answers)
		}
	}
}

// TestInterruptVM stops a run while the host VM boots.
func TestInterruptVM(t *testing.T) {
	o := nested(t)
	o.Selectors = []string{"vnic.driver-info"}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Stdout, o.Terminal = cancelAt{cancel, "boot host", o.Stdout}, true
	out, err := Run(ctx, o)
	if err != nil || !out.Interrupted || len(out.Results) != 0 {
		t.Errorf("%v, interrupted %v, results %+v", err, out.Interrupted, out.Results)
	}
}

// TestNotBootable shows the error of a host image that can only be a container.
func TestNotBootable(t *testing.T) {
	zeros := strings.Repeat("0", 64)
	m := &manifest.Manifest{Name: "host", Kind: manifest.KindHost, Files: []manifest.File{
		{Name: "vmlinuz", Role: manifest.RoleKernel, SHA256: zeros}, {Name: "base", Role: manifest.RoleSegment, SHA256: zeros}}}
	if err := place.Bootable(m); !errors.Is(err, place.ErrNoHost) {
		t.Errorf("without a root: %v", err)
	}
	m.Files = append(m.Files, manifest.File{Name: "root", Role: manifest.RoleRoot, SHA256: zeros})
	if err := place.Bootable(m); err != nil {
		t.Errorf("with everything: %v", err)
	}
}

// TestLost shows what a host VM that failed means for its instances: the one that ran there gets an ERROR, the rest
// another VM; when nobody knows which one ran, and the next VM fails there as well, it is the first. When VMs keep failing,
// or there is one and it cannot run anything, all do.
func TestLost(t *testing.T) {
	for name, tt := range map[string]struct {
		booted   bool
		running  int // its place in the plan, -1: nobody knows
		cause    error
		failures int
		want     []int
	}{
		"in an instance":       {true, 1, errSilent, 1, []int{1}},
		"in the next one":      {true, 1, errSilent, maxVMs, []int{1}},
		"and in one more":      {true, 1, errSilent, maxVMs + 1, []int{0, 1}},
		"before any":           {true, -1, errSilent, 1, nil},
		"again":                {true, -1, errSilent, maxVMs, []int{0}},
		"in its boot":          {false, -1, errSilent, 1, nil},
		"in that of the other": {false, -1, errSilent, maxVMs, []int{0, 1}},
		"nothing to run on":    {true, -1, &endError{"no images"}, 1, []int{0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := newScene(t, VM, 1)
			c.booted = tt.booted
			if tt.running >= 0 {
				c.running = c.plan.IDs()[tt.running]
			}
			if err := c.lost(fmt.Errorf("x: %w", tt.cause), tt.failures); err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, i := range tt.want {
				want = append(want, c.plan.IDs()[i])
			}
			if !slices.Equal(c.done, want) {
				t.Errorf("results for %v, want %v", c.done, want)
			}
		})
	}
}
