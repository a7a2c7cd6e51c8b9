package launch

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"picolab/images/manifest"
)

// newAppliance is one that runs from a root file system with a busybox and some modules.
func newAppliance(t *testing.T) appliance {
	t.Helper()
	dir := t.TempDir()
	a := appliance{root: filepath.Join(dir, "root"), mounts: filepath.Join(dir, "mountinfo"), cmdline: filepath.Join(dir, "cmdline"),
		image: filepath.Join(dir, "image"), release: "6.1.0-test"}
	modules := "root/usr/lib/modules/6.1.0-test/"
	for name, text := range map[string]string{
		"mountinfo":                            "36 35 8:18 / " + a.root + " ro,nosuid shared:7 master:1 - squashfs /dev/loop3 ro,errors=continue\n",
		"cmdline":                              "BOOT_IMAGE=/vmlinuz console=tty0 console=ttyS0 quiet picolab.root=/dev/vda picolab.run=quick rdinit=/x console=tty0 hugepages=4\n",
		"image":                                strings.Repeat("ab", 32) + "+dirty.0123456789ab\n",
		"root/bbin/bb":                         "the busybox",
		modules + "modules.dep":                "kernel/block/virtio_blk.ko:\nkernel/fs/overlay.ko: kernel/lib/exportfs-x.ko\nkernel/lib/exportfs-x.ko:\nkernel/other.ko: kernel/fs/overlay.ko\n",
		modules + "modules.builtin":            "kernel/fs/squashfs.ko\n",
		modules + "kernel/block/virtio_blk.ko": "1", modules + "kernel/fs/overlay.ko": "2", modules + "kernel/lib/exportfs-x.ko": "3",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// carried is the guest image with the kernel that runs, or another.
func carried(t *testing.T, release string) *manifest.Manifest {
	t.Helper()
	m, err := manifest.Read(image(t, manifest.KindGuest, kernelFile, segmentFile))
	if err != nil {
		t.Fatal(err)
	}
	m.KernelRelease = release
	return m
}

func TestSelfWithoutStick(t *testing.T) {
	a := newAppliance(t)
	guest := carried(t, a.release)
	b, err := a.bootable(guest)
	if err != nil {
		t.Fatal(err)
	}
	if !b.host || b.id != strings.Repeat("ab", 32) || b.kernel != guest.Kernel() || b.root != a.root {
		t.Errorf("%+v", b)
	}
	if len(b.disks) != 1 || b.disks[0].File != "/dev/loop3" || !b.disks[0].ReadOnly || !b.disks[0].Device {
		t.Errorf("disks %+v", b.disks)
	}
	if want := []string{"console=ttyS0", "quiet", "console=tty0", "hugepages=4"}; !slices.Equal(b.words, want) {
		t.Errorf("kernel arguments %q, want %q", b.words, want)
	}
	if _, err := a.bootable(carried(t, "6.1.0-other")); err == nil || !strings.Contains(err.Error(), "6.1.0-other") {
		t.Errorf("another kernel: %v", err)
	}
	if err := os.WriteFile(a.mounts, []byte("rubbish\n36 35 0:5 / "+a.root+" ro - tmpfs tmpfs ro\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := a.bootable(guest); err == nil || !strings.Contains(err.Error(), "no device") {
		t.Errorf("no root: %v", err)
	}
}

// TestBootSegment: cpio(1) finds in the segment what it takes to mount the root, and no more.
func TestBootSegment(t *testing.T) {
	a := newAppliance(t)
	path := filepath.Join(t.TempDir(), "boot.cpio")
	if err := writeBootSegment(path, a.root, a.release); err != nil {
		t.Fatal(err)
	}
	if err := writeBootSegment(path, a.root, "6.1.0-other"); err == nil {
		t.Error("a kernel without modules")
	}
	cpio, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("cpio(1) not installed")
	}
	if err := writeBootSegment(path, a.root, a.release); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(cpio, "-idm", "--quiet")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(data)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, want := range map[string]string{
		first: "the busybox", "lib/modules/6.1.0-test/kernel/fs/overlay.ko": "2", "lib/modules/6.1.0-test/kernel/lib/exportfs-x.ko": "3",
		"lib/modules/6.1.0-test/modules.dep": "kernel/block/virtio_blk.ko:\nkernel/fs/overlay.ko: kernel/lib/exportfs-x.ko\nkernel/lib/exportfs-x.ko:\n",
	} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, first)); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%s: %v, %v", first, info, err)
	}
}

func TestMount(t *testing.T) {
	for line, want := range map[string]string{
		"36 35 8:18 / /x ro,nosuid shared:7 master:1 - vfat /dev/sdb2 ro,fmask=0022": "/x /dev/sdb2",
		"36 35 8:18 / /x ro - vfat /dev/sdb2 ro":                                     "/x /dev/sdb2",
		"36 35 8:18 / - vfat":                                                        " ",
		"rubbish":                                                                    " ",
	} {
		if at, source := mount(line); at+" "+source != want {
			t.Errorf("%q: %q %q", line, at, source)
		}
	}
}
