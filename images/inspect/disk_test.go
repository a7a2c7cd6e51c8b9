package inspect

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"picolab/images/manifest"
	"picolab/initramfs/cpio"
	"picolab/initramfs/tree"
)

// tool runs a foreign program, and skips without it.
func tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	file, err := exec.LookPath(name)
	if err != nil {
		file = "/usr/sbin/" + name
		if _, err := os.Stat(file); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
	cmd := exec.Command(file, args...)
	cmd.Env = append(os.Environ(), "MTOOLS_SKIP_CHECK=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// imageFiles writes an image's folder: manifest, kernel, one segment.
func imageFiles(t testing.TB) (dir string, m *manifest.Manifest) {
	t.Helper()
	dir = t.TempDir()
	segment := tree.New()
	for p, content := range map[string]string{"lib/modules/1.0/kernel/net/one.ko": "module", "etc/motd": "hello"} {
		if err := segment.Put(p, tree.Regular(0o644, tree.Bytes([]byte(content)))); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := cpio.Segment(&b, segment, 1, cpio.ZstdFast); err != nil {
		t.Fatal(err)
	}
	m = &manifest.Manifest{Name: "test", Kind: "guest", Lock: strings.Repeat("0", 64), Recipe: strings.Repeat("0", 64), Architecture: "amd64", KernelRelease: "1.0"}
	for _, f := range []struct {
		name, role string
		data       []byte
	}{{"vmlinuz", manifest.RoleKernel, random(5 << 20)}, {"all.cpio.zst", manifest.RoleSegment, b.Bytes()}} {
		save(t, filepath.Join(dir, f.name), f.data)
		size, sum, err := manifest.HashFile(t.Context(), filepath.Join(dir, f.name))
		if err != nil {
			t.Fatal(err)
		}
		m.Files = append(m.Files, manifest.File{Name: f.name, Role: f.role, Size: size, SHA256: sum})
	}
	save(t, filepath.Join(dir, manifest.Name), m.Encode())
	return dir, m
}

func save(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func random(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	return data
}

// foreignDisk makes a disk with sgdisk, mkfs.fat and mtools. The kernel's clusters are torn apart by files removed first.
func foreignDisk(t testing.TB) string {
	dir, _ := imageFiles(t)
	disk := filepath.Join(t.TempDir(), "disk.img")
	save(t, disk, nil)
	if err := os.Truncate(disk, 80<<20); err != nil {
		t.Fatal(err)
	}
	tool(t, "sgdisk", "-a", "1", "-n", "1:34:2047", "-t", "1:EF02", "-n", "2:2048:+70M", "-t", "2:EF00", "-c", "2:system", disk)
	tool(t, "mkfs.fat", "-F", "32", "-i", "1234ABCD", "--offset", "2048", disk, fmt.Sprint(70<<10))
	at := disk + "@@1M"
	pad := filepath.Join(dir, "pad")
	save(t, pad, random(64<<10))
	for i := range 30 {
		tool(t, "mcopy", "-i", at, pad, fmt.Sprintf("::pad%d", i))
	}
	for i := 0; i < 30; i += 2 {
		tool(t, "mdel", "-i", at, fmt.Sprintf("::pad%d", i))
	}
	tool(t, "mmd", "-i", at, "::picolab", "::picolab/site", "::picolab/results", "::picolab/results/1", "::EFI", "::EFI/debian")
	for _, name := range []string{"vmlinuz", "all.cpio.zst", manifest.Name} {
		tool(t, "mcopy", "-i", at, filepath.Join(dir, name), "::picolab/"+name)
	}
	save(t, pad, []byte("menuentry x\n"))
	tool(t, "mcopy", "-i", at, pad, "::EFI/debian/grub.cfg")
	return disk
}

// TestForeignDisk reads what other programs made, in all formats that QEMU converts it to.
func TestForeignDisk(t *testing.T) {
	raw := foreignDisk(t)
	formats := map[string]string{"raw": raw}
	for name, args := range map[string][]string{
		"qcow2": nil, "compressed": {"-c"}, "small clusters": {"-o", "cluster_size=4k"}, "version 2": {"-o", "compat=0.10"}, "large clusters": {"-c", "-o", "cluster_size=2M"},
	} {
		formats[name] = filepath.Join(t.TempDir(), "disk.qcow2")
		tool(t, "qemu-img", append(append([]string{"convert", "-f", "raw", "-O", "qcow2"}, args...), raw, formats[name])...)
	}
	for name, path := range formats {
		t.Run(name, func(t *testing.T) {
			r, err := Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			d := r.Disk
			if d.Size != 80<<20 || d.Table != "gpt" || len(d.Partitions) != 2 || !d.Site || d.Results != 1 || d.Menu != "menuentry x\n" {
				t.Errorf("%+v", d)
			}
			if p := d.Partitions[1]; p.Type != "EFI system" || p.Name != "system" || p.Volume != "1234-ABCD" || p.First != 2048 || p.Size != 70<<20 {
				t.Errorf("%+v", p)
			}
			if !strings.Contains(tool(t, "sgdisk", "-p", raw), d.ID) {
				t.Errorf("sgdisk has another GUID than %s", d.ID)
			}
			if r.Image.Name != "test" || len(r.Layers) != 2 || r.Layers[1].Unpacked != 11 || len(r.Modules) != 1 || r.Modules[0].Path != "kernel/net/one.ko" {
				t.Errorf("%+v %+v", r.Layers, r.Modules)
			}
			want := tool(t, "mdir", "-i", raw+"@@1M", "::")
			if free := strings.NewReplacer(" ", "", "\n", "").Replace(want); !strings.Contains(free, fmt.Sprintf("%dbytesfree", d.Partitions[1].Free)) {
				t.Errorf("%d bytes free; mtools: %s", d.Partitions[1].Free, want)
			}
		})
	}
}

// TestDamage changes what is read, and wants an error that says so.
func TestDamage(t *testing.T) {
	good, err := os.ReadFile(foreignDisk(t))
	if err != nil {
		t.Fatal(err)
	}
	kernel := bytes.Index(good, random(1 << 20)[200<<10:][:512]) // the pads are like its beginning
	for name, tc := range map[string]struct {
		change func([]byte) []byte
		want   string
	}{
		"kernel":            {func(b []byte) []byte { b[kernel+100]++; return b }, "vmlinuz: 5242880 bytes, SHA-256"},
		"GPT header":        {func(b []byte) []byte { b[512+60]++; return b }, "header's checksum"},
		"GPT entries":       {func(b []byte) []byte { b[1024+40]++; return b }, "entries' checksum"},
		"no signature":      {func(b []byte) []byte { b[510] = 0; return b }, "no boot signature"},
		"cut off":           {func(b []byte) []byte { return b[:40<<20] }, "outside of the disk"},
		"text":              {func([]byte) []byte { return bytes.Repeat([]byte("text "), 1000) }, "no boot signature"},
		"empty":             {func([]byte) []byte { return nil }, "too short"},
		"clusters of 0":     {func(b []byte) []byte { b[1<<20+13] = 0; return b }, "FAT32: sizes out of bounds"},
		"FAT that is short": {func(b []byte) []byte { b[1<<20+36] = 1; b[1<<20+37] = 0; return b }, "FAT32: sizes out of bounds"},
		"loop in the root": {func(b []byte) []byte {
			fat := 1<<20 + int(binary.LittleEndian.Uint16(b[1<<20+14:]))*512
			binary.LittleEndian.PutUint32(b[fat+8:], 2)
			return b
		}, "chain of cluster 2 is damaged"},
		"manifest": {func(b []byte) []byte {
			at := bytes.Index(b, []byte(`"kernel_release": "1.0"`))
			b[at+19] = '2'
			return b
		}, "does not match the contents"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk.img")
			save(t, path, tc.change(bytes.Clone(good)))
			if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestQCOW2Refused(t *testing.T) {
	dir := t.TempDir()
	plain, backed := filepath.Join(dir, "plain.qcow2"), filepath.Join(dir, "backed.qcow2")
	tool(t, "qemu-img", "create", "-f", "qcow2", plain, "8M")
	tool(t, "qemu-img", "create", "-f", "qcow2", "-F", "qcow2", "-b", plain, backed)
	good, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	with := func(at int, v byte) string {
		path := filepath.Join(t.TempDir(), "x.qcow2")
		b := bytes.Clone(good)
		b[at] = v
		save(t, path, b)
		return path
	}
	for path, want := range map[string]string{
		backed: "backing file", with(7, 9): "version 9", with(23, 40): "sizes out of bounds", with(35, 1): "encrypted", with(79, 2): "features 0x2",
		with(36, 1): "sizes out of bounds", plain: "no boot signature", with(40, 0x10): "cut off",
	} {
		if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestFolder(t *testing.T) {
	dir, m := imageFiles(t)
	r, err := Open(t.Context(), dir)
	if err != nil || r.Disk != nil || r.Image.ID != m.ID || len(r.Layers) != 2 || len(r.Modules) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	save(t, filepath.Join(dir, "vmlinuz"), []byte("other"))
	if _, err := Open(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "build the image again") {
		t.Error(err)
	}
	if _, err := Open(t.Context(), filepath.Join(dir, "missing")); err == nil || !strings.Contains(err.Error(), "labimage build") {
		t.Error(err)
	}
}

// FuzzFAT reads any bytes as a volume: errors are right, crashes and endless reads are not.
func FuzzFAT(f *testing.F) {
	boot := make([]byte, 8*sector)
	copy(boot[82:], "FAT32")
	boot[510], boot[511], boot[12], boot[13], boot[14], boot[16], boot[32], boot[36], boot[44] = 0x55, 0xaa, 2, 1, 1, 1, 8, 1, 2
	copy(boot[sector:], []byte{0xf8, 0xff, 0xff, 0x0f, 0xff, 0xff, 0xff, 0x0f, 0xff, 0xff, 0xff, 0x0f})
	copy(boot[2*sector:], "PICOLAB    \x10")
	f.Add(boot)
	f.Fuzz(func(_ *testing.T, data []byte) {
		v, err := openFAT(io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))))
		if err != nil {
			return
		}
		_, _, _ = v.usage()
		_, _ = v.readFile("/picolab/manifest.json", 1<<20)
	})
}
