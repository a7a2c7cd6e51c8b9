package cli

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// command runs hostctl with args and returns its exit code and outputs.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(t.Context(), Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Args: args})
	return code, out.String(), errs.String()
}

// TestListJSON shows the names that machines rely on.
func TestListJSON(t *testing.T) {
	code, out, errs := command(t, "list", "--json")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	var cases []map[string]any
	if err := json.Unmarshal([]byte(out), &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 13 {
		t.Errorf("%d cases", len(cases))
	}
	for _, c := range cases {
		for _, name := range []string{"id", "title", "seed", "needs", "matrix"} {
			if c[name] == nil {
				t.Errorf("%v has no %s", c["id"], name)
			}
		}
	}
}

func TestList(t *testing.T) {
	code, out, _ := command(t, "list", "vnic.link-*")
	if code != 0 || strings.Count(out, "\n") != 2 || !strings.HasPrefix(out, "vnic.link-status-on ") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestShow(t *testing.T) {
	code, out, errs := command(t, "show", "vnic.link-status-off")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	for _, want := range []string{"seed:      vnic.txt, item 2", "criterion: status=off", "steps:\n  1. ", "deviations:", `the seed says "unknown"`,
		"nic: virtio, e1000, rtl8139, e1000e", "on needs vhost_net", "vnic.link-status-off[backend=vale,machine=q35,nic=virtio,vhost=off]", "any two values together once", "is excluded: status is"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestDryRun(t *testing.T) {
	code, out, errs := command(t, "run", "--dry-run", "vnic.driver-info", "vnic.link-status-on", "--set", "nic=e1000,virtio", "--set", "backend=tap")
	want := `boot a(virtio)
  vnic.driver-info[backend=tap,machine=q35,nic=virtio,vhost=off]
  vnic.link-status-on[backend=tap,machine=q35,nic=virtio,vhost=off]
boot a(e1000)
  vnic.driver-info[backend=tap,machine=q35,nic=e1000,vhost=off]
  vnic.link-status-on[backend=tap,machine=q35,nic=e1000,vhost=off]
4 instances on 2 labs, about 16s
`
	if code != 0 || out != want {
		t.Errorf("exit code %d: %s\n%s", code, errs, out)
	}
}

// TestRunRefuses shows the exit code and the words of what cannot be run.
func TestRunRefuses(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no such case", []string{"vnic.nonsense"}, exitUsage, "no such case"},
		{"no such axis", []string{"--set", "colour=red"}, exitUsage, "no selected case has the axis colour"},
		{"no such value", []string{"--set", "nic=ne2000"}, exitUsage, "the values are virtio, e1000, rtl8139"},
		{"half a --set", []string{"--set", "nic"}, exitUsage, "not axis=value"},
		{"no such profile", []string{"--profile", "slow"}, exitUsage, "neither quick nor full"},
		{"no such accelerator", []string{"--accel", "warp"}, exitUsage, "none of auto, kvm, tcg"},
		{"no such part", []string{"--shard", "3/2"}, exitUsage, "I/N"},
		{"resume something else", []string{"--resume", out, "vnic"}, exitUsage, "no selectors"},
		{"resume nothing", []string{"--resume", out}, exitUsage, "not a folder for a run"},
		{"no such baseline", []string{"--baseline", out, "-o", out}, exitUsage, "--baseline: read run"},
		{"two minds", []string{"--fail-fast", "--keep-going"}, exitUsage, "exclude each other"},
		{"nothing, dry", []string{"--dry-run", "vnic.features-off", "--set", "nic=e1000"}, exitNothing, "nothing to run"},
		{"no images", []string{"--images", out, "-o", out, "vnic.driver-info"}, exitInfra, "no host image"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PICOLAB_CACHE", t.TempDir())
			code, _, errs := command(t, append([]string{"run"}, tt.args...)...)
			if code != tt.code || !strings.Contains(errs, tt.want) {
				t.Errorf("exit code %d, want %d; %s", code, tt.code, errs)
			}
		})
	}
}

// TestRunNothing shows that a run without instances is never green.
func TestRunNothing(t *testing.T) {
	t.Setenv("PICOLAB_CACHE", t.TempDir())
	dir := filepath.Join(t.TempDir(), "out")
	code, out, _ := command(t, "run", "vnic.features-off", "--set", "nic=e1000", "-o", dir, "--images", dir)
	if code != exitNothing || !strings.Contains(out, "NOTHING RAN") || !strings.Contains(out, "only virtio devices negotiate features") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

// TestRunFolder shows that a folder with other things in it is not touched.
func TestRunFolder(t *testing.T) {
	t.Setenv("PICOLAB_CACHE", t.TempDir())
	dir := t.TempDir()
	if code, _, errs := command(t, "run", "-o", filepath.Dir(dir), "vnic.driver-info"); code != exitUsage || !strings.Contains(errs, "which is no run's") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}
