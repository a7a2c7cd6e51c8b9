package inflate

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"picolab/images/manifest"
)

func pack(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(data, nil)
}

// bzImage wraps a payload the way the kernel's build does.
func bzImage(version uint16, payload []byte) []byte {
	const sectors, offset = 3, 0x40
	image := make([]byte, (sectors+1)*512+offset)
	image[setupSects] = sectors
	copy(image[headerMagic:], "HdrS")
	binary.LittleEndian.PutUint16(image[headerVersion:], version)
	binary.LittleEndian.PutUint32(image[payloadOffset:], offset)
	binary.LittleEndian.PutUint32(image[payloadLength:], uint32(len(payload)))
	return append(image, payload...)
}

// elfWithNote is the smallest ELF file with one note: type 18 of owner "Xen" is the PVH entry.
func elfWithNote(kind uint32) []byte {
	le := binary.LittleEndian
	b := make([]byte, 64+56)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 2)  // executable
	le.PutUint16(b[18:], 62) // x86-64
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[32:], 64) // program headers
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	le.PutUint16(b[58:], 64)
	note := le.AppendUint32(nil, 4)
	note = le.AppendUint32(note, 4)
	note = le.AppendUint32(note, kind)
	note = append(note, "Xen\x00\x00\x00\x00\x01"...)
	le.PutUint32(b[64:], 4) // PT_NOTE
	le.PutUint64(b[64+8:], uint64(len(b)))
	le.PutUint64(b[64+32:], uint64(len(note)))
	le.PutUint64(b[64+40:], uint64(len(note)))
	return append(b, note...)
}

func sized(packed []byte, size int) []byte {
	return binary.LittleEndian.AppendUint32(bytes.Clone(packed), uint32(size))
}

func TestKernel(t *testing.T) {
	good := elfWithNote(18)
	got, err := Kernel(bzImage(0x20f, sized(pack(t, good), len(good))))
	if err != nil || !bytes.Equal(got, good) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	other := elfWithNote(6)
	short := bzImage(0x20f, sized(pack(t, good), len(good)))
	for name, image := range map[string][]byte{
		"empty":        nil,
		"no header":    make([]byte, 4096),
		"old protocol": bzImage(0x207, sized(pack(t, good), len(good))),
		"truncated":    short[:len(short)-1],
		"gzip":         bzImage(0x20f, []byte("\x1f\x8b\x08\x00 and so on")),
		"no PVH":       bzImage(0x20f, sized(pack(t, other), len(other))),
		"no ELF":       bzImage(0x20f, sized(pack(t, []byte("text")), 4)),
		"huge":         bzImage(0x20f, sized(pack(t, good), maxKernel+1)),
	} {
		if _, err := Kernel(image); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Kernel(bzImage(0x20f, sized(pack(t, good), len(good)+1))); err == nil {
		t.Error("a payload shorter than it says was taken")
	}
}

func TestKernelFile(t *testing.T) {
	good := elfWithNote(18)
	image := bzImage(0x20f, sized(pack(t, good), len(good)))
	path := filepath.Join(t.TempDir(), "vmlinuz")
	if err := os.WriteFile(path, image, 0o644); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(image)
	dir := filepath.Join(t.TempDir(), "kernels")
	for range 2 {
		name, err := KernelFile(dir, path, hex.EncodeToString(sum[:]))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, good) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	if _, err := KernelFile(dir, path, strings.Repeat("0", 64)); err == nil || !strings.Contains(err.Error(), "manifest") {
		t.Errorf("a changed kernel: %v", err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("left behind: %v, %v", list, err)
	}
}

func TestSegment(t *testing.T) {
	plain := bytes.Repeat([]byte("070701"), 1000)
	for name, in := range map[string][]byte{
		"plain": plain, "zstd": pack(t, plain), "padded": append(pack(t, plain), make([]byte, 100)...),
		"padded a little": append(pack(t, plain), 0, 0),
	} {
		var out bytes.Buffer
		n, err := Segment(&out, bytes.NewReader(in))
		if err != nil || n != int64(len(plain)) || !bytes.Equal(out.Bytes(), plain) {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
	}
	packed := pack(t, plain)
	if _, err := Segment(&bytes.Buffer{}, bytes.NewReader(packed[:len(packed)/2])); err == nil {
		t.Error("half a segment was taken")
	}
}

// TestRealKernel unpacks the locked kernel: that it boots is shown wherever a guest boots under TCG.
func TestRealKernel(t *testing.T) {
	images := os.Getenv("PICOLAB_IMAGES")
	if images == "" {
		t.Skip("PICOLAB_IMAGES not set: run make test")
	}
	m, err := manifest.Read(filepath.Join(images, "guest"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := KernelFile(t.TempDir(), m.Kernel(), m.KernelSHA256()); err != nil {
		t.Fatal(err)
	}
}

func FuzzKernel(f *testing.F) {
	good := elfWithNote(18)
	f.Add(bzImage(0x20f, sized(pack(f, good), len(good))))
	f.Add(bzImage(0x20f, []byte("short")))
	f.Fuzz(func(_ *testing.T, image []byte) {
		if len(image) > 1<<16 {
			return
		}
		Kernel(image)
	})
}
