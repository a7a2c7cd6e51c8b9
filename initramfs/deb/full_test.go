package deb

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"picolab/initramfs/tree"
)

// TestFullDisk unpacks onto a file system that is too small, in a mount
// namespace of its own: the error says so and names the file, nothing is left
// under a temporary or a final name, and with more room the same call works.
func TestFullDisk(t *testing.T) {
	const child = "DEB_FULL_DISK_CHILD"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
		cmd.Env = append(os.Environ(), child+"="+t.TempDir())
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Skipf("user namespaces are not allowed: %v", err)
		}
		if err != nil || strings.Contains(string(out), "--- SKIP") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	dir := os.Getenv(child)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	fullDisk(t, dir, func(size string) {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size="+size); err != nil {
			t.Fatal(err)
		}
	})
}

func fullDisk(t *testing.T, dir string, resize func(string)) {
	data := of(t, file("./usr/lib/first", "small"), file("./usr/lib/second", strings.Repeat("large", 1<<20)))
	blobs, err := OpenBlobs(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	into, _, err := unpackBytes(t, data, blobs, Options{})
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "usr/lib/second") || into.Len() != 0 {
		t.Fatalf("got %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "blobs", "tmp")); err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
	found, err := tree.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for path, e := range found.All() {
		if e.IsRegular() && e.Size() != int64(len("small")) {
			t.Errorf("%s is there with %d bytes", path, e.Size())
		}
	}
	resize("8m") // room for the contents, not for a second copy
	if into, _, err = unpackBytes(t, data, blobs, Options{}); err != nil {
		t.Fatalf("with room: %v", err)
	}
	err = into.WriteDir(t.Context(), filepath.Join(dir, "root"), tree.WriteOptions{})
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "usr/lib/second") {
		t.Errorf("write: got %v", err)
	}
	resize("32m")
	if err := into.WriteDir(t.Context(), filepath.Join(dir, "again"), tree.WriteOptions{}); err != nil {
		t.Errorf("write with room: %v", err)
	}
}
