package qemu

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// needQEMU skips where the machine has no QEMU of its own.
func needQEMU(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(DefaultBinary); err != nil {
		t.Skip(DefaultBinary + " not in PATH")
	}
}

func TestProbeGuestRunsUnderTCG(t *testing.T) {
	needQEMU(t)
	ok, evidence := probeAccel(t.Context(), "tcg", KVMDeadline, []string{DefaultBinary})
	if !ok {
		t.Fatal(evidence)
	}
	t.Log(evidence)
}

func TestProbeKVMAnswersInTime(t *testing.T) {
	needQEMU(t)
	start := time.Now()
	ok, evidence := ProbeKVM(t.Context(), KVMDeadline)
	if took := time.Since(start); took > KVMDeadline+20*time.Second {
		t.Errorf("took %v", took)
	}
	if evidence == "" {
		t.Error("no evidence")
	}
	t.Log(ok, evidence, time.Since(start))
}

// A guest that hangs, and one that computes wrongly, must not pass.
func TestProbeGuestCanFail(t *testing.T) {
	needQEMU(t)
	good := probeCode
	t.Cleanup(func() { probeCode = good })
	for name, c := range map[string]struct {
		code []byte
		want string
	}{
		"halts at once": {[]byte{0xf4}, "did not end"},
		"exits early":   {bytes.Replace(good, []byte{'R'}, []byte{'Q'}, 1), `wrote "QPLK", not "RPLK"`},
	} {
		probeCode = c.code
		ok, evidence := probeAccel(t.Context(), "tcg", KVMDeadline, []string{DefaultBinary})
		if ok || !strings.Contains(evidence, c.want) {
			t.Errorf("%s: %v, %s", name, ok, evidence)
		}
	}
}

// The bytes in use are those of the source beside them.
func TestProbeSource(t *testing.T) {
	for _, tool := range []string{"as", "objcopy"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + "(1) not installed")
		}
	}
	dir := t.TempDir()
	obj, bin := filepath.Join(dir, "o"), filepath.Join(dir, "bin")
	for _, c := range [][]string{{"as", "--64", "rom/probe.S", "-o", obj}, {"objcopy", "-O", "binary", "-j", ".text", obj, bin}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", c, err, out)
		}
	}
	got, err := os.ReadFile(bin)
	if err != nil || !bytes.Equal(got, probeCode) {
		t.Errorf("rom/probe.bin is not what rom/probe.S assembles to (%v)", err)
	}
}

func TestProbeVersion(t *testing.T) {
	needQEMU(t)
	c, err := Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !c.Version.AtLeast(7, 0) || !c.HasDevice("virtio-net-pci") || !c.HasDevice("e1000") || !c.HasNetdev("tap") || c.HasNetdev("netmap-not") {
		t.Errorf("%+v", c)
	}
}

func TestAskVersion(t *testing.T) {
	needQEMU(t)
	c, err := Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if v, err := AskVersion(t.Context()); err != nil || v != c.Version {
		t.Errorf("%v, %v; Probe says %v", v, err, c.Version)
	}
	if _, err := AskVersion(t.Context(), "true"); err == nil {
		t.Error("a version of true(1)")
	}
}

func TestProbeMissingBinary(t *testing.T) {
	if _, err := Probe(t.Context(), "no-such-qemu"); !errors.Is(err, exec.ErrNotFound) {
		t.Error(err)
	}
}

func TestParseVersion(t *testing.T) {
	for line, want := range map[string]Version{
		"QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)": {7, 2, 22},
		"QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1)":    {10, 0, 2},
	} {
		if got, err := ParseVersion(line); err != nil || got != want {
			t.Errorf("%q: %v, %v", line, got, err)
		}
	}
	if _, err := ParseVersion("bhyve"); err == nil {
		t.Error("bhyve is no QEMU")
	}
	if !(Version{10, 0, 0}).AtLeast(7, 2) || (Version{7, 2, 22}).AtLeast(8, 0) || !(Version{}).AtLeast(99, 0) {
		t.Error("AtLeast")
	}
}

// A KVM that gives up leaves QEMU paused, not ended; its message ends the wait.
func TestProbeStopsAtInternalError(t *testing.T) {
	stopped := false
	o := &probeOutput{stop: func() { stopped = true }}
	for _, part := range []string{"warning: x\nKVM int", "ernal error. Suberror: 1\nRAX=00000000e000004c"} {
		_, _ = o.Write([]byte(part))
	}
	o.guest.WriteString("RP")
	ok, evidence := o.verdict("kvm", nil, time.Second)
	if ok || !stopped || !strings.Contains(evidence, `wrote "RP"`) || !strings.Contains(evidence, "KVM internal error. Suberror: 1") {
		t.Error(ok, stopped, evidence)
	}
}
