package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// TestUUID5 uses the name space and the result of RFC 9562, appendix A.4.
func TestUUID5(t *testing.T) {
	dns := "6ba7b8109dad11d180b400c04fd430c8"
	if got, want := guid(dns, "www.example.com"), "2ED6657D-E927-568B-95E1-2665A8AEA6A2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if guid(dns, "esp") == guid(dns, "disk") || serial(dns, "mbr") == 0 {
		t.Error("roles do not differ")
	}
}

func TestBootSector(t *testing.T) {
	img := bytes.Repeat([]byte{0xaa}, sector)
	img[bootDriveJump], img[bootDriveJump+1] = 0xeb, 5
	b, err := bootSector(img, gptCore)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != bootCode || binary.LittleEndian.Uint64(b[bootCoreLBA:]) != gptCore || !bytes.Equal(b[bootDriveJump:][:2], []byte{0x90, 0x90}) {
		t.Errorf("% x", b)
	}
	if img[bootDriveJump] != 0xeb {
		t.Error("boot.img itself was changed")
	}
	for name, bad := range map[string][]byte{"short": img[:100], "other": make([]byte, sector)} {
		if _, err := bootSector(bad, gptCore); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestCoreImage(t *testing.T) {
	img := make([]byte, 10*sector+1)
	binary.LittleEndian.PutUint16(img[coreRestSegment:], restSegment)
	c, err := coreImage(img, gptCore, 11)
	if err != nil {
		t.Fatal(err)
	}
	if len(c) != 11*sector || binary.LittleEndian.Uint64(c[coreRestLBA:]) != gptCore+1 || binary.LittleEndian.Uint16(c[coreRestSectors:]) != 10 {
		t.Errorf("% x", c[coreRestLBA:sector])
	}
	if _, err := coreImage(img, gptCore, 10); err == nil {
		t.Error("11 sectors in room for 10")
	}
	if _, err := coreImage(make([]byte, 10*sector), gptCore, 11); err == nil {
		t.Error("no segment")
	}
	if _, err := coreImage(img[:sector], gptCore, 11); err == nil {
		t.Error("one sector only")
	}
}

// TestMBRSlots checks the first sector of both layouts, see embed.
func TestMBRSlots(t *testing.T) {
	m, l := small(t)
	for layout, want := range map[Layout]string{
		GPT: "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00",
		MBR: "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
	} {
		path := filepath.Join(t.TempDir(), "disk")
		p := smallDisk(t, m, l, path, layout, Raw)
		b := make([]byte, sector)
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadFull(f, b)
		f.Close()
		if err != nil || string(b[mbrSecondSlot:][:16]) != want || b[510] != 0x55 || b[511] != 0xaa {
			t.Errorf("%s: %v % x", layout, err, b[mbrSignature:])
		}
		if sig := binary.LittleEndian.Uint32(b[mbrSignature:]); (layout == MBR) != (sig == p.signature) {
			t.Errorf("%s: signature %08x", layout, sig)
		}
	}
}

// TestSizes makes sure that every size of ESP has a FAT that is long enough, and room for what was asked.
func TestSizes(t *testing.T) {
	for mib := int64(0); mib < 2000; mib++ {
		size := espBytes([]file{{size: mib * mebi}}, DefaultFree)
		if size%mebi != 0 || size < mib*mebi+DefaultFree || !fatFits(size) {
			t.Errorf("%d MiB of files: ESP of %d bytes", mib, size)
		}
	}
	for _, mib := range []int64{130, 180, 240} { // a boot loader reads the appliance in clusters of 4 KiB
		if size := espBytes([]file{{size: mib * mebi}}, 0); size <= largeFAT {
			t.Errorf("%d MiB of files: ESP of %d MiB", mib, size/mebi)
		}
	}
	if fatFits(64 * mebi) {
		t.Error("64 MiB is the size that the FAT writer gets wrong: is this still needed?")
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"quiet": "quiet", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$root": "'$root'", "console=ttyS0,115200n8": "console=ttyS0,115200n8", "a;b": "'a;b'"} {
		if got := quote(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

// TestQCOW2 reads files back by the tables, for sizes at the edges of them.
func TestQCOW2(t *testing.T) {
	const gib = 1 << 30
	for _, tc := range []struct {
		size int64
		at   []int64 // where the disk has a byte
	}{
		{qcowCluster, nil}, {qcowCluster, []int64{0}}, {2*gib + qcowCluster, []int64{0, 512*mebi - 1, 512 * mebi, 2 * gib}}, {64 * mebi, []int64{1, mebi, 64*mebi - 1}},
	} {
		raw := scratch(t)
		if err := raw.Truncate(tc.size); err != nil {
			t.Fatal(err)
		}
		for _, at := range tc.at {
			if _, err := raw.WriteAt([]byte{byte(at%250 + 1)}, at); err != nil {
				t.Fatal(err)
			}
		}
		out := scratch(t)
		q := &qcow{size: tc.size} // a disk of holes takes long to read: only where something is
		for _, at := range tc.at {
			q.add(at >> qcowBits)
		}
		q.place()
		if err := q.write(context.Background(), out, io.NewSectionReader(raw, 0, tc.size)); err != nil {
			t.Fatal(err)
		}
		for _, at := range tc.at {
			if got := lookUp(t, out, at); got != byte(at%250+1) {
				t.Errorf("size %d, byte %d: got %d", tc.size, at, got)
			}
		}
		if out := judge(t, "qemu-img", "check", out.Name()); out == "" {
			t.Error("qemu-img says nothing")
		}
		judge(t, "qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw.Name(), out.Name())
	}
}

func scratch(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// lookUp reads a byte of the disk as qcow2.rst says, "Mapping table lookup".
func lookUp(t *testing.T, f io.ReaderAt, at int64) byte {
	t.Helper()
	word := func(offset int64) int64 {
		b := make([]byte, 8)
		if _, err := f.ReadAt(b, offset); err != nil {
			t.Fatal(err)
		}
		return int64(binary.BigEndian.Uint64(b) &^ qcowCopied)
	}
	n := at >> qcowBits
	l2 := word(word(40) + n/qcowEntries*8)
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, word(l2+n%qcowEntries*8)+at%qcowCluster); err != nil {
		t.Fatal(err)
	}
	return b[0]
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
