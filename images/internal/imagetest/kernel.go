package imagetest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
	"testing"
)

// Kernel returns a kernel package: an image of a few bytes and the modules leaf, which needs base, and other.
func Kernel(t testing.TB) []byte {
	t.Helper()
	dir := "lib/modules/" + Release + "/"
	return Deb(t, "linux-image-6.1.0-test", "1",
		File{Path: "boot/vmlinuz-" + Release, Content: strings.Repeat("kernel ", 1000)},
		File{Path: dir + "kernel/drivers/net/leaf.ko", Content: module(t, "name=leaf", "depends=base", "license=GPL")},
		File{Path: dir + "kernel/lib/base.ko", Content: module(t, "name=base", "depends=", "license=GPL")},
		File{Path: dir + "kernel/lib/other.ko", Content: module(t, "name=other", "depends=", "license=GPL")},
		File{Path: dir + "modules.builtin"}, File{Path: dir + "modules.order"}, File{Path: dir + "modules.builtin.modinfo"})
}

// module returns a relocatable ELF64 file with nothing but .modinfo.
func module(t testing.TB, info ...string) string {
	t.Helper()
	const header, names = 64, "\x00.modinfo\x00.shstrtab\x00"
	data := strings.Join(info, "\x00") + "\x00"
	h := elf.Header64{Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: header,
		Shoff: uint64(header + len(data) + len(names)), Shentsize: 64, Shnum: 3, Shstrndx: 2}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	sections := []elf.Section64{{},
		{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: header, Size: uint64(len(data))},
		{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: uint64(header + len(data)), Size: uint64(len(names))}}
	var b bytes.Buffer
	write(t, &b, h)
	b.WriteString(data + names)
	write(t, &b, sections)
	return b.String()
}

func write(t testing.TB, b *bytes.Buffer, v any) {
	t.Helper()
	if err := binary.Write(b, binary.LittleEndian, v); err != nil {
		t.Fatal(err)
	}
}
