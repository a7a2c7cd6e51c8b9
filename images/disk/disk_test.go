package disk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"picolab/images/manifest"
)

// small makes an image of a few files, and boot loaders that only look like it.
func small(t testing.TB) (*manifest.Manifest, *loaders) {
	t.Helper()
	dir := t.TempDir()
	sum := sha256.Sum256([]byte("lock"))
	m := &manifest.Manifest{
		Name: "small", Kind: "guest", Architecture: "amd64", Lock: hex.EncodeToString(sum[:]), Recipe: hex.EncodeToString(sum[:]),
		CommandLine: []string{"console=ttyS0", "quiet"}, Epoch: 1789199741,
		Menu: []manifest.Choice{{Title: "plain"}, {Title: "slow devices", CommandLine: []string{"rootdelay=30", "note=a b"}}},
	}
	rnd := rand.NewChaCha8(sum)
	for _, f := range []struct {
		name, role string
		size       int
	}{{"vmlinuz", manifest.RoleKernel, 3 << 20}, {"base.cpio.zst", manifest.RoleSegment, 100}, {"payload.cpio.zst", manifest.RoleSegment, 5<<20 + 7}, {"sbom.spdx.json", manifest.RoleSBOM, 50}} {
		data := make([]byte, f.size)
		_, _ = rnd.Read(data)
		sum := sha256.Sum256(data)
		m.Files = append(m.Files, manifest.File{Name: f.name, Role: f.role, Size: int64(f.size), SHA256: hex.EncodeToString(sum[:])})
		write(t, filepath.Join(dir, f.name), data)
	}
	write(t, filepath.Join(dir, manifest.Name), m.Encode())
	m, err := manifest.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m, fakeLoaders()
}

func fakeLoaders() *loaders {
	l := &loaders{shim: []byte("shim"), grub: bytes.Repeat([]byte("grub"), 1<<18), keys: []byte("keys"), boot: make([]byte, sector), core: make([]byte, 5*sector-9)}
	l.boot[bootDriveJump], l.boot[bootDriveJump+1] = 0xeb, 5
	binary.LittleEndian.PutUint16(l.core[coreRestSegment:], restSegment)
	return l
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// smallDisk writes the disk of a small image to path.
func smallDisk(t testing.TB, m *manifest.Manifest, l *loaders, path string, layout Layout, format Format) *plan {
	t.Helper()
	o := &Options{Image: m, Output: path, Layout: layout, Format: format}
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	files := espFiles(m, l)
	p := newPlan(o, files)
	err := replaceFile(path, func(f *os.File) error {
		if format == QCOW2 {
			return p.qcow2(t.Context(), f, l, files, o.packer())
		}
		return p.raw(t.Context(), f, l, files)
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// judge runs a foreign tool and returns what it says.
func judge(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path = filepath.Join("/usr/sbin", name) // may be missing from a user's PATH
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip(name + "(1) not installed")
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC", "MTOOLS_SKIP_CHECK=0", "MTOOLSRC=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

func TestJudges(t *testing.T) {
	m, l := small(t)
	for _, layout := range []Layout{GPT, MBR} {
		path := filepath.Join(t.TempDir(), "disk.raw")
		p := smallDisk(t, m, l, path, layout, Raw)
		t.Run("fsck.fat "+string(layout), func(t *testing.T) {
			if out := judge(t, "fsck.fat", "-n", "-v", espOf(t, path, p)); !strings.Contains(out, fmt.Sprintf("%d hidden sectors", p.espFirst)) {
				t.Error(out)
			}
		})
		t.Run("mtools "+string(layout), func(t *testing.T) { listed(t, m, path) })
	}
	t.Run("large", func(t *testing.T) { // clusters of 4 KiB
		o := &Options{Image: m, Free: 300 * mebi}
		files := espFiles(m, l)
		p := newPlan(o, files)
		path := filepath.Join(t.TempDir(), "disk.raw")
		if err := replaceFile(path, func(f *os.File) error { return p.raw(t.Context(), f, l, files) }); err != nil {
			t.Fatal(err)
		}
		if out := judge(t, "fsck.fat", "-n", "-v", espOf(t, path, p)); !strings.Contains(out, "4096 bytes per cluster") {
			t.Error(out)
		}
		listed(t, m, path)
	})
	t.Run("sgdisk", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "disk.raw")
		p := smallDisk(t, m, l, path, GPT, Raw)
		if out := judge(t, "sgdisk", "-v", path); !strings.Contains(out, "No problems found") {
			t.Error(out)
		}
		out := judge(t, "sgdisk", "-p", path)
		for _, want := range []string{p.disk, "EF02  BIOS boot", "EF00  EFI system"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in:\n%s", want, out)
			}
		}
	})
	t.Run("sfdisk", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "disk.raw")
		p := smallDisk(t, m, l, path, MBR, Raw)
		out := judge(t, "sfdisk", "-d", path)
		for _, want := range []string{fmt.Sprintf("label-id: 0x%08x", p.signature), "start=        2048", "type=ef, bootable"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in:\n%s", want, out)
			}
		}
	})
	t.Run("qemu-img", func(t *testing.T) {
		dir := t.TempDir()
		smallDisk(t, m, l, filepath.Join(dir, "disk.raw"), GPT, Raw)
		smallDisk(t, m, l, filepath.Join(dir, "disk.qcow2"), GPT, QCOW2)
		if out := judge(t, "qemu-img", "check", filepath.Join(dir, "disk.qcow2")); !strings.Contains(out, "No errors were found") {
			t.Error(out)
		}
		judge(t, "qemu-img", "compare", filepath.Join(dir, "disk.raw"), filepath.Join(dir, "disk.qcow2"))
	})
}

// TestJudgesCanFail shows that what mend does is needed.
func TestJudgesCanFail(t *testing.T) {
	m, l := small(t)
	o := &Options{Image: m}
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	files := espFiles(m, l)
	p := newPlan(o, files)
	f, err := os.Create(filepath.Join(t.TempDir(), "disk.raw"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := errors.Join(f.Truncate(p.size), p.format(t.Context(), f, files)); err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("/usr/sbin/fsck.fat")
	if err != nil {
		t.Skip("fsck.fat(8) not installed")
	}
	if out, err := exec.Command(path, "-n", espOf(t, f.Name(), p)).CombinedOutput(); err == nil {
		t.Errorf("fsck.fat finds nothing wrong:\n%s", out)
	}
}

// espOf copies the ESP out of a disk, without its zeros.
func espOf(t *testing.T, path string, p *plan) string {
	t.Helper()
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(filepath.Join(t.TempDir(), "esp"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := out.Truncate(p.espSize()); err != nil {
		t.Fatal(err)
	}
	buf, zero := make([]byte, mebi), make([]byte, mebi)
	for off := int64(0); off < p.espSize(); off += mebi {
		if _, err := in.ReadAt(buf, p.espFirst*sector+off); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(buf, zero) {
			continue
		}
		if _, err := out.WriteAt(buf, off); err != nil {
			t.Fatal(err)
		}
	}
	return out.Name()
}

// listed reads the ESP with mtools.
func listed(t *testing.T, m *manifest.Manifest, path string) {
	at := path + "@@1M"
	out := judge(t, "mdir", "-i", at, "-/", "-b", "::")
	for _, want := range []string{"::/EFI/BOOT/BOOTX64.EFI", "::/EFI/BOOT/grubx64.efi", "::/EFI/BOOT/mmx64.efi", "::/EFI/debian/grub.cfg", "::/picolab/vmlinuz",
		"::/picolab/base.cpio.zst", "::/picolab/payload.cpio.zst", "::/picolab/manifest.json", "::/picolab/sbom.spdx.json", "::" + idFile(m)} {
		if !strings.Contains(out, want+"\n") {
			t.Errorf("no %s in:\n%s", want, out)
		}
	}
	if out := judge(t, "mdir", "-i", at, "::/picolab"); strings.Count(out, "2026-09-12   7:55") != 8 { // . and .. too
		t.Errorf("times are not the epoch:\n%s", out)
	}
	menu := judge(t, "mtype", "-i", at, "::/EFI/debian/grub.cfg")
	for _, want := range []string{"menuentry plain {\n\tlinux$bits /picolab/vmlinuz console=ttyS0 quiet\n\tinitrd$bits /picolab/base.cpio.zst /picolab/payload.cpio.zst\n}",
		"menuentry 'slow devices' {\n\tlinux$bits /picolab/vmlinuz console=ttyS0 quiet rootdelay=30 'note=a b'\n"} {
		if !strings.Contains(menu, want) {
			t.Errorf("no %q in:\n%s", want, menu)
		}
	}
	kernel, err := os.ReadFile(m.Kernel())
	if err != nil {
		t.Fatal(err)
	}
	if judge(t, "mtype", "-i", at, "::/picolab/vmlinuz") != string(kernel) {
		t.Error("mtype reads another kernel")
	}
}

func TestSameBytes(t *testing.T) {
	m, l := small(t)
	for _, format := range []Format{Raw, QCOW2} {
		t.Run(string(format), func(t *testing.T) {
			plain := filepath.Join(t.TempDir(), "a")
			smallDisk(t, m, l, plain, GPT, format)
			want := digest(t, plain)

			old := syscall.Umask(0o077)
			zone := time.Local
			time.Local = time.FixedZone("far", 13*3600)
			t.Cleanup(func() { syscall.Umask(old); time.Local = zone })
			t.Setenv("SOURCE_DATE_EPOCH", "1000000000")
			time.Sleep(time.Second) // a FAT volume ID, and times, change with the clock
			other := filepath.Join(t.TempDir(), "another folder")
			if err := os.Mkdir(other, 0o700); err != nil {
				t.Fatal(err)
			}
			again := filepath.Join(other, "b")
			smallDisk(t, m, l, again, GPT, format)
			if digest(t, again) != want {
				t.Error("another time, zone, umask and folder give other bytes")
			}
			if st, err := os.Stat(again); err != nil || st.Mode() != 0o644 {
				t.Errorf("mode %v, %v", st.Mode(), err)
			}
			changed := *m
			changed.Epoch += 2 // FAT counts in 2 s
			smallDisk(t, &changed, l, again, GPT, format)
			if digest(t, again) == want {
				t.Error("another epoch gives the same bytes: the comparison is blind")
			}
		})
	}
}

func digest(t *testing.T, path string) string {
	t.Helper()
	_, sum, err := manifest.HashFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func TestChangedFileIsRefused(t *testing.T) {
	m, l := small(t)
	data, err := os.ReadFile(m.Kernel())
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(data)
	flipped[len(data)/2] ^= 1
	for name, bad := range map[string][]byte{"flipped": flipped, "truncated": data[:len(data)-1], "longer": append(bytes.Clone(data), 0)} {
		t.Run(name, func(t *testing.T) {
			write(t, m.Kernel(), bad)
			dir := t.TempDir()
			o := &Options{Image: m, Layout: GPT, Format: Raw}
			files := espFiles(m, l)
			p := newPlan(o, files)
			err := replaceFile(filepath.Join(dir, "disk"), func(f *os.File) error { return p.raw(t.Context(), f, l, files) })
			var mismatch *manifest.MismatchError
			if !errors.As(err, &mismatch) {
				t.Errorf("got %v", err)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	m, _ := small(t)
	none := *m
	none.Files = nil
	arm := *m
	arm.Architecture = "arm64"
	for name, o := range map[string]Options{
		"format":    {Image: m, Format: "vdi"},
		"layout":    {Image: m, Layout: "apm"},
		"free":      {Image: m, Free: -1},
		"kernel":    {Image: &none},
		"processor": {Image: &arm},
		"loaders":   {Image: m, Loaders: t.TempDir()},
	} {
		o.Output = filepath.Join(t.TempDir(), "disk")
		_, err := Write(t.Context(), o)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		var missing *LoaderError
		if (name == "loaders") != errors.As(err, &missing) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRootFile puts an appliance's root file system on the ESP and tells the kernel which volume has it.
func TestRootFile(t *testing.T) {
	m, l := small(t)
	if text := string(menu(m)); strings.Contains(text, stickArgument) {
		t.Errorf("an image without a root file system looks for one:\n%s", text)
	}
	m.Files = append(m.Files, manifest.File{Name: "root.squashfs", Role: manifest.RoleRoot, Size: 7})
	if text := string(menu(m)); strings.Count(text, " picolab.stick="+m.ID[:16]+"\n") != 2 || !strings.Contains(text, "initrd$bits /picolab/base.cpio.zst /picolab/payload.cpio.zst\n") {
		t.Errorf("menu:\n%s", text)
	}
	files := espFiles(m, l)
	if !slices.ContainsFunc(files, func(f file) bool { return f.path == "/picolab/root.squashfs" && f.size == 7 }) {
		t.Errorf("not among the files: %v", files)
	}
}

// TestCompressed: qemu-img finds nothing wrong with a compressed disk, which is the raw one to a reader, and the same every time.
func TestCompressed(t *testing.T) {
	guest, host := images(t)
	write := func(f Format, pack bool) string {
		path := filepath.Join(t.TempDir(), "disk")
		if _, err := Write(t.Context(), Options{Image: guest, Loaders: host.Root(), Output: path, Format: f, Pack: pack}); err != nil {
			t.Fatal(err)
		}
		return path
	}
	raw, packed := write(Raw, false), write(QCOW2, true)
	if digest(t, write(QCOW2, true)) != digest(t, packed) {
		t.Error("two compressed disks differ")
	}
	judge(t, "qemu-img", "check", "-q", packed)
	judge(t, "qemu-img", "compare", "-q", raw, packed)
	small, err := os.Stat(packed)
	if err != nil {
		t.Fatal(err)
	}
	if large, err := os.Stat(write(QCOW2, false)); err != nil || small.Size() >= large.Size() {
		t.Errorf("compressed %d bytes, plain %d, %v", small.Size(), large.Size(), err)
	}
	if _, err := Write(t.Context(), Options{Image: guest, Loaders: host.Root(), Output: raw, Pack: true}); err == nil {
		t.Error("a raw disk cannot be compressed")
	}
}
