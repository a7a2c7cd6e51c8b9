package flash

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
