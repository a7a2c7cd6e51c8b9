package flash

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// loop attaches a file of size bytes to a loop device and returns the device's path and the file's.
func loop(t *testing.T, size int64) (dev, backing string) {
	t.Helper()
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		t.Skip("no loop devices here: needs root and the loop driver")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer ctl.Close()
	backing = filepath.Join(t.TempDir(), "backing")
	f, err := os.Create(backing)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	for range 10 { // another process may be quicker
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			t.Skipf("no free loop device: %v", err)
		}
		dev = fmt.Sprintf("/dev/loop%d", n)
		if attach(t, dev, f) {
			return dev, backing
		}
	}
	t.Skip("no loop device could be had")
	return "", ""
}

func attach(t *testing.T, dev string, f *os.File) bool {
	t.Helper()
	l, err := os.OpenFile(dev, os.O_RDWR, 0)
	if err != nil {
		t.Skipf("open %s: %v", dev, err)
	}
	if err := unix.IoctlSetInt(int(l.Fd()), unix.LOOP_SET_FD, int(f.Fd())); err != nil {
		l.Close()
		return false
	}
	t.Cleanup(func() {
		if err := unix.IoctlSetInt(int(l.Fd()), unix.LOOP_CLR_FD, 0); err != nil {
			t.Errorf("detach %s: %v", dev, err)
		}
		l.Close()
	})
	return true
}

func TestLoopDevice(t *testing.T) {
	path, data := image(t, 6<<20, 1)
	dev, backing := loop(t, 16<<20)
	var m Machine
	refuse := func(o Options, want string) {
		t.Helper()
		o.Image, o.Device = path, dev
		var r *RefusedError
		if _, err := Flash(t.Context(), m, o); !errors.As(err, &r) || !strings.Contains(r.Reason, want) {
			t.Errorf("got %v, want a refusal with %q", err, want)
		}
	}
	refuse(Options{Confirm: yes}, "fixed disk (virtual)")
	refuse(Options{Force: true, Confirm: Confirmed("other")}, "its serial is")

	held, err := os.OpenFile(dev, os.O_RDWR|os.O_EXCL, 0) // as a mount in another namespace does
	if err != nil {
		t.Fatal(err)
	}
	refuse(Options{Force: true, Confirm: yes}, "in use")
	held.Close()
	if now, err := os.ReadFile(backing); err != nil || !bytes.Equal(now, make([]byte, 16<<20)) {
		t.Fatalf("a refused device was written to: %v", err)
	}

	rep, err := Flash(t.Context(), m, Options{Image: path, Device: dev, Force: true, Confirm: Confirmed("none-16777216")})
	if err != nil {
		t.Fatal(err)
	}
	if rep.Bytes != int64(len(data)) || rep.Device.Path != dev {
		t.Errorf("%+v", rep)
	}
	now, err := os.ReadFile(backing)
	if err != nil || !bytes.Equal(now[:len(data)], data) {
		t.Errorf("the device has something else: %v", err)
	}
}

// TestLoopReadsTheMedium changes the file below a loop device after it was written: what the page cache remembers of
// the device would hide it.
func TestLoopReadsTheMedium(t *testing.T) {
	path, _ := image(t, 6<<20, 1)
	dev, backing := loop(t, 16<<20)
	var m Machine
	done := false
	_, err := Flash(t.Context(), m, Options{Image: path, Device: dev, Force: true, Confirm: yes, Progress: func(p Progress) {
		if p.Stage != "verify" || done {
			return
		}
		done = true
		f, err := os.OpenFile(backing, os.O_RDWR, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte("flip"), 5<<20); err != nil {
			t.Error(err)
		}
	}})
	var bad *VerifyError
	if !errors.As(err, &bad) || bad.Offset < 5<<20 || bad.Offset > 5<<20+3 {
		t.Errorf("got %v", err)
	}
}

func TestLoopMounted(t *testing.T) {
	path, _ := image(t, 6<<20, 1)
	dev, _ := loop(t, 16<<20)
	dir := t.TempDir()
	if out, err := mkfs(dev); err != nil {
		t.Skipf("mkfs.ext4: %v %s", err, out)
	}
	if err := unix.Mount(dev, dir, "ext4", 0, ""); err != nil {
		t.Skipf("mount: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	var r *RefusedError
	if _, err := Flash(t.Context(), Machine{}, Options{Image: path, Device: dev, Force: true, Confirm: yes}); !errors.As(err, &r) || !strings.Contains(r.Reason, "mounted on "+dir) {
		t.Errorf("got %v", err)
	}
}

// TestLoopStates puts real devices into states that a guard must refuse even when forced. What this machine cannot make
// is skipped by name.
func TestLoopStates(t *testing.T) {
	path, _ := image(t, 6<<20, 1)
	for _, tc := range []struct {
		name, want string
		size       int64
		set        func(t *testing.T, dev string) (device string)
	}{
		{"too small", "the image", 4 << 20, func(_ *testing.T, dev string) string { return dev }},
		{"read-only", "read-only", 16 << 20, readOnly},
		{"4096-byte sectors", "sectors have 4096", 16 << 20, func(t *testing.T, dev string) string {
			ioctl(t, dev, unix.LOOP_SET_BLOCK_SIZE, 4096)
			return dev
		}},
		{"swap", "swap space", 16 << 20, swapOn},
		{"below a mapping", "part of dm-", 16 << 20, func(t *testing.T, dev string) string { mapped(t, dev); return dev }},
		{"a mapping", "made of other devices", 16 << 20, mapped},
		{"a partition", "a partition of", 16 << 20, partition},
		{"mounted partition", "mounted on", 16 << 20, mountedPartition},
		{"through a link", "the image", 4 << 20, func(t *testing.T, dev string) string {
			name := filepath.Join(t.TempDir(), "by-id")
			if err := os.Symlink(dev, name); err != nil {
				t.Fatal(err)
			}
			return name
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dev, backing := loop(t, tc.size)
			device := tc.set(t, dev)
			before, err := os.ReadFile(backing)
			if err != nil {
				t.Fatal(err)
			}
			var r *RefusedError
			_, err = Flash(t.Context(), Machine{}, Options{Image: path, Device: device, Force: true, Confirm: yes})
			if !errors.As(err, &r) || !strings.Contains(r.Reason, tc.want) {
				t.Errorf("got %v, want a refusal with %q", err, tc.want)
			}
			if after, err := os.ReadFile(backing); err != nil || !bytes.Equal(before, after) {
				t.Errorf("a refused device was written to: %v", err)
			}
		})
	}
}

func ioctl(t *testing.T, dev string, request uint, value int) {
	t.Helper()
	f, err := os.Open(dev)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), request, value); err != nil {
		t.Skipf("ioctl %#x of %s: %v", request, dev, err)
	}
}

// readOnly sets the device's own flag, as a switch on a card does (BLKROSET).
func readOnly(t *testing.T, dev string) string {
	t.Helper()
	f, err := os.OpenFile(dev, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	set := func(v int) error { return unix.IoctlSetPointerInt(int(f.Fd()), unix.BLKROSET, v) }
	if err := set(1); err != nil {
		t.Skipf("BLKROSET: %v", err)
	}
	t.Cleanup(func() { ioctlReadWrite(t, dev) })
	return dev
}

func ioctlReadWrite(t *testing.T, dev string) {
	f, err := os.Open(dev)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.BLKROSET, 0); err != nil {
		t.Error(err)
	}
}

// tool runs a program of the machine, and skips without it.
func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	file, err := exec.LookPath(name)
	if err != nil {
		if file = "/usr/sbin/" + name; exec.Command(file, "--version").Run() != nil {
			t.Skipf("%s is not installed", name)
		}
	}
	if out, err := exec.Command(file, args...).CombinedOutput(); err != nil {
		t.Skipf("%s %q: %v: %s", name, args, err, out)
	}
}

func swapOn(t *testing.T, dev string) string {
	tool(t, "mkswap", dev)
	tool(t, "swapon", dev)
	t.Cleanup(func() { tool(t, "swapoff", dev) })
	return dev
}

// mapped makes a device-mapper device of dev, and returns its path.
func mapped(t *testing.T, dev string) string {
	name := fmt.Sprintf("picolab-test-%d-%s", os.Getpid(), filepath.Base(dev))
	tool(t, "dmsetup", "create", name, "--table", "0 8192 linear "+dev+" 0")
	t.Cleanup(func() { tool(t, "dmsetup", "remove", "--retry", name) })
	return "/dev/mapper/" + name
}

func partition(t *testing.T, dev string) string {
	tool(t, "sgdisk", "-n", "1:2048:+8M", dev)
	tool(t, "losetup", "--version")
	tool(t, "partx", "-a", dev)
	t.Cleanup(func() { tool(t, "partx", "-d", dev) })
	name := dev + "p1"
	if _, err := os.Stat(name); err != nil {
		t.Skipf("no node for the partition: %v", err)
	}
	return name
}

func mountedPartition(t *testing.T, dev string) string {
	part, dir := partition(t, dev), t.TempDir()
	if out, err := mkfs(part); err != nil {
		t.Skipf("mkfs.ext4: %v %s", err, out)
	}
	if err := unix.Mount(part, dir, "ext4", 0, ""); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dev
}

// TestOwnDisks refuses every disk that the machine of the test has in use.
func TestOwnDisks(t *testing.T) {
	list, err := Machine{}.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		if used := len(d.Mounts)+len(d.Swap)+len(d.Holders) > 0; used && Check(d, 1<<20, true) == nil {
			t.Errorf("%s would be written to", d)
		}
	}
}
