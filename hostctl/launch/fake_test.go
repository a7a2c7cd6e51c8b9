package launch

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picolab/images/manifest"
)

// A desk is a place to launch from: an image whose files are only names, and a QEMU that is a script.
type desk struct {
	t        *testing.T
	image    string
	out, err bytes.Buffer
}

func newDesk(t *testing.T, qemu string) *desk {
	d := &desk{t: t, image: image(t, manifest.KindGuest, kernelFile, segmentFile)}
	t.Setenv("PICOLAB_RUN", t.TempDir())
	t.Setenv("PICOLAB_CACHE", t.TempDir())
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "qemu-system-x86_64"), []byte("#!/bin/sh\n"+qemu), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return d
}

func (d *desk) launch(ctx context.Context, args string) error {
	return QEMU(ctx, Stdio{In: strings.NewReader(""), Out: &d.out, Err: &d.err}, append(strings.Fields(args), "--image", d.image))
}

// TestShownIsRun: the line that is printed is what runs, word for word.
func TestShownIsRun(t *testing.T) {
	d := newDesk(t, `printf 'ran qemu-system-x86_64'; for a; do case $a in *' '*) printf " '%s'" "$a";; *) printf ' %s' "$a";; esac; done; echo`)
	if err := d.launch(t.Context(), "qemu --netuser 01 --nic e1000"); err != nil {
		t.Fatal(err)
	}
	shown, ran, ok := strings.Cut(d.out.String(), "\nran ")
	if !ok || shown != strings.TrimSpace(ran) {
		t.Errorf("shown:\n%s\nran:\n%s", shown, ran)
	}
	initrd := filepath.Join(os.Getenv("PICOLAB_RUN"), "launch/launch-netuser01/initrd")
	if info, err := os.Stat(initrd); err != nil || info.Mode().Perm() != 0o600 || !strings.Contains(shown, "-initrd "+initrd) {
		t.Errorf("what the line names is not there for whoever pastes it: %v, %v", info, err)
	}
}

func TestDryRun(t *testing.T) {
	d := newDesk(t, "echo started")
	if err := d.launch(t.Context(), "qemu --tap 77 --dry-run"); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(d.out.String(), "started") || !strings.Contains(d.out.String(), "ifname=tap77") {
		t.Errorf("%q", d.out.String())
	}
}

// TestQEMUFails: its words come through, and so does that it failed.
func TestQEMUFails(t *testing.T) {
	d := newDesk(t, "echo 'no such device' >&2; exit 1")
	if err := d.launch(t.Context(), "qemu"); err == nil || !strings.Contains(d.err.String(), "no such device") {
		t.Errorf("%v, %q", err, d.err.String())
	}
}

// TestWaitForTheDead: a machine that ends before its agent answers is not waited for.
func TestWaitForTheDead(t *testing.T) {
	d := newDesk(t, "exit 1")
	began := time.Now()
	err := d.launch(t.Context(), "qemu --wait")
	if err == nil || !strings.Contains(err.Error(), "the machine ended before its agent answered") || time.Since(began) > time.Minute {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

// TestInterrupted: the end of the command ends the machine, whether it is waited for or not.
func TestInterrupted(t *testing.T) {
	for _, args := range []string{"qemu", "qemu --wait"} {
		d := newDesk(t, "exec sleep 60")
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("interrupted by the test")
		time.AfterFunc(300*time.Millisecond, func() { cancel(why) })
		began := time.Now()
		if err := d.launch(ctx, args); err == nil || time.Since(began) > 30*time.Second {
			t.Errorf("%s: %v after %v", args, err, time.Since(began))
		}
	}
}
