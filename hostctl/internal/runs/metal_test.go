package runs

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/internal/probe"
	"picolab/hostctl/report"
)

// TestMetalRefused shows the errors of a PC that cannot be reached, each with what to do, and the report that is made all
// the same.
func TestMetalRefused(t *testing.T) {
	p := newPC(t)
	if err := os.WriteFile(filepath.Join(p.dir, "none"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ key, known, want string }{
		"unknown host": {"user", "none", "log in once by hand"},
		"unknown key":  {"other", "known", "authorized_keys"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := Run(t.Context(), metalOptions(t, p, tt.key, tt.known))
			if err != nil {
				t.Fatal(err)
			}
			if out.Count(report.Error) != len(out.Run.Planned) || out.ExitCode() != report.ExitError {
				t.Fatalf("exit code %d, results %+v", out.ExitCode(), out.Results)
			}
			if r := out.Results[0]; !strings.Contains(r.Reason, tt.want) || r.Host.Kind != Metal {
				t.Errorf("%+v", r)
			}
		})
	}
}

func metalOptions(t *testing.T, p *pc, key, known string) Options {
	var out testWriter = t.Log
	o := Options{Selectors: []string{"vnic.driver-info"}, Profile: catalogue.Quick, Axes: map[string][]string{"nic": {"virtio"}, "vhost": {"off"}},
		Accel: "auto", Host: Host{Kind: Metal, PC: p.address}, Dir: filepath.Join(t.TempDir(), "run"), Stdout: out, Stderr: out, ssh: p.client(key, known)}
	o.Host.PC.Images = os.Getenv("PICOLAB_IMAGES")
	return o
}

// TestMetal runs a case over SSH with a real guest: this machine stands for the PC.
func TestMetal(t *testing.T) {
	o := real(t)
	p := newPC(t)
	o.Selectors, o.Host = []string{"vnic.driver-info"}, Host{Kind: Metal, PC: p.address}
	o.Host.PC.Images, o.ssh = o.Place.Images, p.client("user", "known")
	out, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	needTap(t, out)
	if out.ExitCode() != report.ExitGreen || out.Count(report.Pass) != 1 {
		t.Fatalf("exit code %d: %+v", out.ExitCode(), out.Results)
	}
	r := out.Results[0]
	if r.Host.Kind != Metal || r.Image == "" || len(out.Run.Parts) != 1 || out.Run.Parts[0].Host != r.Host {
		t.Errorf("host %+v, image %q, parts %+v", r.Host, r.Image, out.Run.Parts)
	}
	checkEvidence(t, o.Dir, r)
	if logs, _ := filepath.Glob(filepath.Join(o.Dir, labsDir, Metal, "*", "a", "console.log")); len(logs) != 1 {
		t.Errorf("logs of the PC's labs: %v", logs)
	}
	checkNothingLeft(t)
}

// checkNothingLeft looks for what a relay might leave on the PC.
func checkNothingLeft(t *testing.T) {
	t.Helper()
	for _, pattern := range []string{"/tmp/picolab.*/picolab-relay", filepath.Join(os.TempDir(), "picolab-run-*")} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

// TestInterruptMetal stops a run on a PC while its guest boots.
func TestInterruptMetal(t *testing.T) {
	o := real(t)
	p := newPC(t)
	o.Selectors, o.Host = []string{"vnic.driver-info"}, Host{Kind: Metal, PC: p.address}
	o.Host.PC.Images, o.ssh = o.Place.Images, p.client("user", "known")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Stdout = cancelAt{cancel, "boot", o.Stdout}
	o.Terminal = true // its progress line tells of a boot that has begun
	out, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if !out.Interrupted || out.ExitCode() != report.ExitInterrupted {
		needTap(t, out)
		t.Errorf("interrupted %v, exit code %d", out.Interrupted, out.ExitCode())
	}
	checkNothingLeft(t)
}

// cancelAt cancels when a word is written.
type cancelAt struct {
	cancel func()
	word   string
	w      interface{ Write([]byte) (int, error) }
}

func (c cancelAt) Write(p []byte) (int, error) {
	if strings.Contains(string(p), c.word) {
		c.cancel()
	}
	return c.w.Write(p)
}

// TestExamineMetal asks a PC without images what it can do.
func TestExamineMetal(t *testing.T) {
	p := newPC(t)
	t.Setenv("PICOLAB_CACHE", t.TempDir())
	var answers []probe.Probe
	err := overSSH(t.Context(), *p.client("user", "known"), order{Doctor: true, Images: t.TempDir()}, probes(&answers))
	if err != nil || len(answers) != 1 || answers[0].OK || !strings.Contains(answers[0].Evidence, "no host image") {
		t.Errorf("%+v, %v", answers, err)
	}
}
