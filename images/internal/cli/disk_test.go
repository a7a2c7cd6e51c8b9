package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDiskCommand makes a disk of the built guest, with boot loaders of the host image beside it, and flashes it.
func TestDiskCommand(t *testing.T) {
	images := os.Getenv("PICOLAB_IMAGES")
	if images == "" {
		t.Skip("PICOLAB_IMAGES not set: run make test")
	}
	dir := t.TempDir()
	img := filepath.Join(dir, "guest.img")
	for _, args := range [][]string{
		{"disk", filepath.Join(images, "guest"), "-o", img},
		{"disk", filepath.Join(images, "host"), "-o", filepath.Join(dir, "host.qcow2"), "--format", "qcow2", "--free", "100 MB"},
		{"disk", filepath.Join(images, "guest"), "-o", filepath.Join(dir, "mbr.img"), "--layout", "mbr", "--host", filepath.Join(images, "host")},
	} {
		var out, errOut bytes.Buffer
		if code := Main(t.Context(), Env{Stdout: &out, Stderr: &errOut, Args: args}); code != 0 || !strings.Contains(out.String(), args[3]+": ") {
			t.Fatalf("labimage %q: code %d, %s%s", args, code, out.String(), errOut.String())
		}
	}
	for want, args := range map[string][]string{
		"FAT32":                {"inspect", filepath.Join(dir, "host.qcow2")},
		`"table": "mbr"`:       {"inspect", filepath.Join(dir, "mbr.img"), "--json"},
		"linux-image-":         {"inspect", img, "--packages"},
		`"equal": true`:        {"diff", img, filepath.Join(dir, "mbr.img"), "--json"},
		`"changes": []` + "\n": {"diff", img, filepath.Join(images, "guest"), "--json"},
	} {
		var out, errOut bytes.Buffer
		if code := Main(t.Context(), Env{Stdout: &out, Stderr: &errOut, Args: args}); code != 0 || !strings.Contains(out.String(), want) {
			t.Errorf("labimage %q: code %d, no %q in %s%s", args, code, want, out.String(), errOut.String())
		}
	}
	s := &sticks{medium: make([]byte, 128<<20)}
	var out bytes.Buffer
	o := flashOptions{system: s, yes: true, serial: "S1"}
	if err := o.run(t.Context(), &Env{Stdout: &out, Stderr: &bytes.Buffer{}}, img, "/dev/sdx"); err != nil || !strings.Contains(out.String(), "verified") {
		t.Fatalf("%v, %s", err, out.String())
	}
	data, err := os.ReadFile(img)
	if err != nil || !bytes.HasPrefix(s.medium, data) {
		t.Errorf("the stick has something else: %v", err)
	}
	for _, args := range [][]string{{"disk", filepath.Join(images, "guest"), "-o", img, "--host", filepath.Join(images, "guest")}, {"flash", filepath.Join(dir, "host.qcow2"), "/dev/null"}} {
		if code := Main(t.Context(), Env{Stdout: &out, Stderr: &out, Args: args}); code != exitFailure {
			t.Errorf("labimage %q: code %d", args, code)
		}
	}
	if !strings.Contains(out.String(), "not of a host") || !strings.Contains(out.String(), "--format raw") {
		t.Error(out.String())
	}
}
