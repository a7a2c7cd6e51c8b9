package initramfs

import (
	"encoding/binary"
	"strings"
	"testing"

	"picolab/initramfs/kmod"
	"picolab/initramfs/tree"
)

// bzImage makes the beginning of one, with the version's text at an offset.
func bzImage(size, at int, text string) []byte {
	head := make([]byte, size)
	copy(head[bootMagic:], "HdrS")
	binary.LittleEndian.PutUint16(head[bootVersion:], uint16(at-bootSector))
	copy(head[at:], text)
	return head
}

func TestImageRelease(t *testing.T) {
	for name, tc := range map[string]struct {
		data       []byte
		want, fail string
	}{
		"usual":       {bzImage(0x4000, 0x3000, "6.1.0-9 (me@here) #1 SMP"), "6.1.0-9", ""},
		"short":       {bzImage(0x400, 0x300, "7.0"), "7.0", ""},
		"vmlinux":     {[]byte("\x7fELF" + strings.Repeat("x", 0x1000)), "", "not vmlinux"},
		"empty":       {nil, "", "no boot header"},
		"no version":  {bzImage(0x4000, 0x3000, ""), "", `release is ""`},
		"out of file": {bzImage(0x4000, 0x3000, "1")[:0x1000], "", `release is ""`},
		"climbs":      {bzImage(0x4000, 0x3000, "../../etc x"), "", "release is"},
		"endless":     {bzImage(0x4000, 0x3000, strings.Repeat("9", 500)), "", "release is"},
	} {
		got, err := imageRelease(tree.Bytes(tc.data))
		if got != tc.want || (err == nil) != (tc.fail == "") || err != nil && !strings.Contains(err.Error(), tc.fail) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func put1(t *testing.T, tr *tree.Tree, path string, e tree.Entry) {
	t.Helper()
	if err := tr.Put(path, e); err != nil {
		t.Fatal(err)
	}
}

// TestChooseFirmware follows links, globs and the endings of packed files, and leaves the rest.
func TestChooseFirmware(t *testing.T) {
	pkg := tree.New()
	file := tree.Regular(0o644, tree.Bytes([]byte("x")))
	for _, p := range []string{"rtl_nic/rtl8125b-2.fw", "rtl_nic/rtl8168.fw.zst", "i915/dg1.bin", "mt/one/a.bin", "mt/two.bin"} {
		put1(t, pkg, "usr/lib/firmware/"+p, file)
	}
	put1(t, pkg, "usr/lib/firmware/mt/link.bin", tree.Symlink("one/next.bin"))
	put1(t, pkg, "usr/lib/firmware/mt/one/next.bin", tree.Symlink("../one/a.bin"))
	put1(t, pkg, "usr/lib/firmware/round", tree.Symlink("round2"))
	put1(t, pkg, "usr/lib/firmware/round2", tree.Symlink("round"))
	put1(t, pkg, "usr/share/doc/x/copyright", file)
	out, err := chooseFirmware(pkg, []kmod.Module{{Firmware: []string{"rtl_nic/rtl8125*", "rtl_nic/rtl8168.fw"}}, {Firmware: []string{"mt/link.bin", "round", "missing"}}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for p, e := range out.All() {
		if !e.IsDir() {
			got = append(got, p)
		}
	}
	if want := "mt/link.bin mt/one/a.bin mt/one/next.bin round round2 rtl_nic/rtl8125b-2.fw rtl_nic/rtl8168.fw.zst"; strings.Join(got, " ") != want {
		t.Errorf("got %q", got)
	}
	if _, err := chooseFirmware(pkg, []kmod.Module{{Firmware: []string{"nothing"}}}); err == nil {
		t.Error("packages that nobody needs are accepted")
	}
}

// TestModulesOf sorts the modules of a package by kernel.
func TestModulesOf(t *testing.T) {
	pkg := tree.New()
	file := tree.Regular(0o644, tree.Bytes([]byte("x")))
	put1(t, pkg, "usr/lib/modules/1/extra/a.ko.xz", file)
	put1(t, pkg, "usr/lib/modules/2/extra/b.ko", file)
	put1(t, pkg, "usr/lib/modules/1/notes.txt", file)
	got, err := modulesOf(pkg, "1")
	if _, ok := got.Get("a.ko.xz"); err != nil || !ok || got.Len() != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := modulesOf(pkg, "3"); err == nil || !strings.Contains(err.Error(), "this one is 3") {
		t.Error(err)
	}
	if _, err := modulesOf(tree.New(), "3"); err == nil || !strings.Contains(err.Error(), "no modules in the package") {
		t.Error(err)
	}
}
