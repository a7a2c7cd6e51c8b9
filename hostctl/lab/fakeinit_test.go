package lab

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"picolab/hostctl/internal/newc"
	"picolab/images/manifest"
)

// fakeInit is an x86-64 ELF program that writes text to its standard output and then, as it is told, sleeps for ever or
// exits, which makes the kernel panic.
func fakeInit(text string, exit bool) []byte {
	const base, header = 0x400000, 64 + 56
	code := []byte{
		0xb8, 1, 0, 0, 0, // mov eax, 1 (write)
		0xbf, 1, 0, 0, 0, // mov edi, 1
		0x48, 0x8d, 0x35, 0, 0, 0, 0, // lea rsi, [rip+N]
		0xba, 0, 0, 0, 0, // mov edx, LENGTH
		0x0f, 0x05, // syscall
		0xb8, 34, 0, 0, 0, // mov eax, 34 (pause)
		0x0f, 0x05, // syscall
		0xeb, 0xf7, // jmp to mov eax
	}
	if exit {
		code[25] = 60 // exit instead of pause
	}
	binary.LittleEndian.PutUint32(code[13:], uint32(len(code)-17))
	binary.LittleEndian.PutUint32(code[18:], uint32(len(text)))
	size := uint64(header + len(code) + len(text))
	var b bytes.Buffer
	le := func(values ...any) {
		for _, v := range values {
			binary.Write(&b, binary.LittleEndian, v)
		}
	}
	b.WriteString("\x7fELF\x02\x01\x01" + string(make([]byte, 9)))
	le(uint16(2), uint16(62), uint32(1), uint64(base+header), uint64(64), uint64(0), uint32(0))
	le(uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0))
	le(uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000)) // PT_LOAD, r-x
	b.Write(code)
	b.WriteString(text)
	return b.Bytes()
}

// fakeImage is the guest image with another init. Being the last segment, it wins.
func fakeImage(t *testing.T, init []byte) string {
	t.Helper()
	m, err := manifest.Read(filepath.Join("/run/lab/images", "guest"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var segment bytes.Buffer
	if err := newc.Write(&segment, []newc.File{{Path: "init", Mode: 0o755, Data: init}}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "init.cpio"), segment.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, f := range m.Files {
		if err := os.Symlink(filepath.Join(m.Dir(), f.Name), filepath.Join(dir, f.Name)); err != nil {
			t.Fatal(err)
		}
	}
	zeros := string(bytes.Repeat([]byte("0"), 64))
	m.Files = append(m.Files, manifest.File{Name: "init.cpio", Role: manifest.RoleSegment, Size: int64(segment.Len()), SHA256: zeros})
	if err := os.WriteFile(filepath.Join(dir, manifest.Name), m.Encode(), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}
