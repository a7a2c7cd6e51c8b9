package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"picolab/images/flash"
)

// sticks is a machine with one stick and one fixed disk, in memory.
type sticks struct {
	medium []byte
	fail   error // of writing
}

func (s *sticks) List() ([]flash.Device, error) {
	stick := flash.Device{Name: "sdx", Path: "/dev/sdx", Number: "8:16", Size: int64(len(s.medium)), Sector: 512, Bus: "usb", Model: "Stick", Serial: "S1", Removable: true}
	disk := stick
	disk.Name, disk.Path, disk.Number, disk.Bus, disk.Model, disk.Serial, disk.Removable = "sda", "/dev/sda", "8:0", "ata", "Disk", "D1", false
	return []flash.Device{disk, stick}, nil
}

func (s *sticks) Find(path string) (flash.Device, error) {
	list, _ := s.List()
	for _, d := range list {
		if d.Path == path {
			return d, nil
		}
	}
	return flash.Device{}, &flash.RefusedError{Device: path, Reason: "it does not exist"}
}

func (s *sticks) Open(d flash.Device) (flash.Target, error) { return &held{s, d}, nil }

type held struct {
	*sticks
	d flash.Device
}

func (h *held) Device() (flash.Device, error) { return h.d, nil }
func (h *held) Sync() error                   { return nil }
func (h *held) Close() error                  { return nil }
func (h *held) WriteAt(p []byte, off int64) (int, error) {
	return copy(h.medium[off:], p), h.fail
}
func (h *held) ReadAt(p []byte, off int64) (int, error) { return copy(p, h.medium[off:]), nil }

// rawDisk writes something that looks like a disk.
func rawDisk(t *testing.T) string {
	t.Helper()
	data := make([]byte, 2<<20)
	data[510], data[511], data[1<<20+5] = 0x55, 0xaa, 7
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlashCommand(t *testing.T) {
	img := rawDisk(t)
	for name, tc := range map[string]struct {
		o      flashOptions
		device string
		input  string
		fail   error
		stdout string
		errs   string // part of the error
	}{
		"confirmed":        {device: "/dev/sdx", input: "sdx\n", stdout: "/dev/sdx: verified, 2.1 MB, sha256 "},
		"no newline":       {device: "/dev/sdx", input: "sdx", stdout: "verified"},
		"wrong name":       {device: "/dev/sdx", input: "sda\n", errs: "not confirmed; nothing was written"},
		"yes is no name":   {device: "/dev/sdx", input: "yes\n", errs: "not confirmed"},
		"no answer":        {device: "/dev/sdx", errs: "not confirmed"},
		"serial":           {o: flashOptions{yes: true, serial: "S1"}, device: "/dev/sdx", stdout: "verified"},
		"other serial":     {o: flashOptions{yes: true, serial: "S2"}, device: "/dev/sdx", errs: `its serial is "S1", not "S2"`},
		"yes alone":        {o: flashOptions{yes: true}, device: "/dev/sdx", errs: "--yes and --serial belong together"},
		"serial alone":     {o: flashOptions{serial: "S1"}, device: "/dev/sdx", input: "sdx\n", errs: "belong together"},
		"fixed disk":       {device: "/dev/sda", input: "sda\n", errs: "--force"},
		"forced":           {o: flashOptions{force: true}, device: "/dev/sda", input: "sda\n", stdout: "verified"},
		"missing":          {device: "/dev/sdy", input: "sdy\n", errs: "does not exist"},
		"fails when begun": {device: "/dev/sdx", input: "sdx\n", fail: errors.New("I/O error"), errs: "must not be used"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sticks{medium: make([]byte, 8<<20), fail: tc.fail}
			var out, errOut bytes.Buffer
			e := &Env{Stdin: strings.NewReader(tc.input), Stdout: &out, Stderr: &errOut}
			tc.o.system = s
			err := tc.o.run(t.Context(), e, img, tc.device)
			if (err == nil) != (tc.errs == "") || (err != nil && !strings.Contains(err.Error(), tc.errs)) {
				t.Errorf("error %v, want %q", err, tc.errs)
			}
			if !strings.Contains(out.String(), tc.stdout) || (tc.errs != "" && out.Len() > 0) {
				t.Errorf("output %q, want %q", out.String(), tc.stdout)
			}
			if written := !bytes.Equal(s.medium, make([]byte, 8<<20)); written != (tc.errs == "") {
				t.Errorf("written: %v", written)
			}
			if tc.input != "" && tc.errs == "" && !strings.Contains(errOut.String(), "serial") {
				t.Errorf("the question does not show the serial: %q", errOut.String())
			}
		})
	}
}

func TestFlashList(t *testing.T) {
	var out bytes.Buffer
	o := flashOptions{system: &sticks{medium: make([]byte, 8<<20)}}
	if err := o.table(&Env{Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"/dev/sdx  0.0 GB  usb  Stick  S1      can be flashed", "/dev/sda  0.0 GB  ata  Disk   D1      refused: it is a fixed disk"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

// TestFlashInterrupted must not say that nothing is half-written.
func TestFlashInterrupted(t *testing.T) {
	err := error(&flash.UnfinishedError{Device: "/dev/sdx", Err: context.Canceled})
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if code := exitCode(ctx, err); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(err.Error(), "must not be used") {
		t.Error(err)
	}
}

func TestDiskAndFlashUsage(t *testing.T) {
	img := rawDisk(t)
	empty := t.TempDir()
	for _, tc := range []struct {
		args string
		code int
		want string
	}{
		{"disk x", exitUsage, "-o FILE"},
		{"disk", exitUsage, "accepts 1 arg"},
		{"disk x -o y --format vdi", exitUsage, "raw nor qcow2"},
		{"disk x -o y --layout apm", exitUsage, "gpt nor mbr"},
		{"disk x -o y --free much", exitUsage, "--free"},
		{"disk " + empty + " -o y", exitFailure, "labimage build"},
		{"disk x -o /dev/null", exitFailure, "labimage flash"},
		{"flash", exitUsage, "IMAGE and DEVICE"},
		{"flash --list x", exitUsage, "no arguments"},
		{"flash " + img + " /dev/null --yes", exitUsage, "belong together"},
		{"flash " + img + " " + img, exitFailure, "not a block device"},
		{"flash " + img + " /dev/null", exitFailure, "not a block device"},
		{"flash " + empty + " /dev/null", exitFailure, "not a regular file"},
		{"flash --no-verify a b", exitUsage, "unknown flag"},
	} {
		var errOut bytes.Buffer
		code := Main(t.Context(), Env{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: &errOut, Args: strings.Fields(tc.args)})
		if code != tc.code || !strings.Contains(errOut.String(), tc.want) {
			t.Errorf("labimage %s: code %d, %q; want %d, %q", tc.args, code, errOut.String(), tc.code, tc.want)
		}
	}
}
