package appliance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picolab/guestagent/module"

	"golang.org/x/sys/unix"
)

func TestFromArguments(t *testing.T) {
	for _, tt := range []struct {
		name string
		args map[string]string
		want Options
		ok   bool
		bad  string
	}{
		{"a guest", map[string]string{"shell": "1"}, Options{}, false, ""},
		{"a disk", map[string]string{"root": "/dev/vda"}, Options{Device: "/dev/vda", Wait: defaultWait}, true, ""},
		{"a slow stick", map[string]string{"stick": "0123", "delay": "20", "rootwait": "300", "copy": "1"},
			Options{Image: "0123", Delay: 20 * time.Second, Wait: 5 * time.Minute, Copy: true}, true, ""},
		{"no number", map[string]string{"stick": "0123", "delay": "soon"}, Options{Image: "0123", Wait: defaultWait}, true, "picolab.delay=soon: not a number"},
		{"a negative one", map[string]string{"stick": "0123", "rootwait": "-1"}, Options{Image: "0123", Wait: defaultWait}, true, "picolab.rootwait=-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok, err := FromArguments(tt.args)
			if got != tt.want || ok != tt.ok || (err == nil) != (tt.bad == "") || err != nil && !strings.Contains(err.Error(), tt.bad) {
				t.Errorf("%+v, %v, %v", got, ok, err)
			}
		})
	}
}

func write(t *testing.T, data []byte, parts ...string) {
	t.Helper()
	name := filepath.Join(parts...)
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// machine is a finder that sees block devices of the test's making.
func machine(t *testing.T) *finder {
	t.Helper()
	set, err := module.Open(t.TempDir(), "0")
	if err != nil {
		t.Fatal(err)
	}
	f := &finder{modules: set, logf: t.Logf, sys: t.TempDir(), dev: t.TempDir(), tried: make(map[string]string)}
	f.Image = "0123456789abcdef"
	for name, sectors := range map[string]int{"sda": 400000, "sda1": 2000, "sda2": 390000, "loop0": 8, "ram0": 8, "sr0": 0, "nvme0n1": 7, "cciss!c0d0": 9} {
		write(t, fmt.Appendf(nil, "%d\n", sectors), f.sys, "class/block", name, "size")
		if strings.HasPrefix(name, "sda") && name != "sda" {
			write(t, []byte("1\n"), f.sys, "class/block", name, "partition")
		}
	}
	return f
}

func TestVolumes(t *testing.T) {
	f := machine(t)
	var got []string
	for _, v := range f.volumes() {
		got = append(got, fmt.Sprint(strings.TrimPrefix(v.path, f.dev+"/"), " ", v.size/512))
	}
	if want := "sda1 2000, sda2 390000, cciss/c0d0 9, nvme0n1 7, sda 400000"; strings.Join(got, ", ") != want {
		t.Errorf("%s\nwant %s", strings.Join(got, ", "), want)
	}
}

// boot is a first sector.
func boot(at int, name string) []byte {
	b := make([]byte, 512)
	copy(b[at:], name)
	b[510], b[511] = 0x55, 0xaa
	return b
}

func TestHasFAT(t *testing.T) {
	dir := t.TempDir()
	unsigned := boot(82, "FAT32   ")
	unsigned[510] = 0
	for name, tt := range map[string]struct {
		sector []byte
		want   bool
		err    bool
	}{
		"FAT32": {boot(82, "FAT32   "), true, false}, "FAT16": {boot(54, "FAT16   "), true, false},
		"an MBR": {boot(0, "code"), false, false}, "unsigned": {unsigned, false, false}, "short": {make([]byte, 100), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			write(t, tt.sector, path)
			if got, err := hasFAT(path); got != tt.want || (err != nil) != tt.err {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	if _, err := hasFAT(filepath.Join(dir, "absent")); err == nil {
		t.Error("a device that is not there")
	}
}

// TestFailureTellsWhatIsThere is what a person in front of a console gets to read.
func TestFailureTellsWhatIsThere(t *testing.T) {
	f := machine(t)
	f.Wait = 50 * time.Millisecond
	for _, name := range []string{"sda", "sda1", "nvme0n1", "cciss/c0d0"} {
		write(t, boot(0, "code"), f.dev, name)
	}
	device, err := f.look()
	if device != "" || err != nil {
		t.Fatalf("%q, %v", device, err)
	}
	text := f.failure().Error()
	for _, want := range []string{"the volume with picolab/0123456789abcdef.id did not appear within 50ms", "sda1 (1.0 MB): no FAT file system",
		"sda2 (199.7 MB): open ", "sda (204.8 MB): no FAT", "picolab.rootwait=300"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if text := (&finder{Options: Options{Device: "/dev/vda"}, sys: t.TempDir()}).failure().Error(); !strings.Contains(text, "/dev/vda did not appear") || !strings.Contains(text, "no disk at all") {
		t.Error(text)
	}
}

// TestEmpty removes a tree, but nothing behind a mount point or a link.
func TestEmpty(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write(t, []byte("kept"), outside, "file")
	write(t, []byte("x"), dir, "a/b/c")
	write(t, []byte("x"), dir, "file")
	if err := os.Symlink(outside, filepath.Join(dir, "a/link")); err != nil {
		t.Fatal(err)
	}
	mount := filepath.Join(dir, "mount")
	if err := os.Mkdir(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	mounted := unix.Mount("tmpfs", mount, "tmpfs", 0, "") == nil
	if mounted {
		defer func() {
			if err := unix.Unmount(mount, 0); err != nil {
				t.Error(err)
			}
		}()
		write(t, []byte("kept"), mount, "file")
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := empty(f); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || mounted && len(left) != 1 || !mounted && len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	for _, name := range []string{filepath.Join(outside, "file"), filepath.Join(mount, "file")} {
		if _, err := os.Stat(name); err != nil && (mounted || !strings.HasPrefix(name, mount)) {
			t.Errorf("%s is gone: %v", name, err)
		}
	}
}

// TestOnlyTheFirstProcess: this program as a test must not take the machine's root away.
func TestOnlyTheFirstProcess(t *testing.T) {
	if err := switchRoot(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not the first process") {
		t.Errorf("error %v", err)
	}
}

func TestCopyFile(t *testing.T) {
	dir := t.TempDir()
	to := filepath.Join(dir, "deep/er/copy")
	if err := copyFile(filepath.Join(dir, "absent"), to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	write(t, []byte("secret"), dir, "file")
	if err := copyFile(filepath.Join(dir, "file"), to); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(to)
	if info, e := os.Stat(to); err != nil || e != nil || string(data) != "secret" || info.Mode().Perm() != 0o600 {
		t.Errorf("%q, %v, %v", data, err, info.Mode())
	}
}
