package imagetest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
	"testing"
)

// Kernel returns a kernel package: an image of a few bytes and the modules leaf, which needs base, and other.
func Kernel(t testing.TB) []byte { return KernelOf(t, Release) }

// KernelOf is Kernel for any release. Leaf drives the network card 8086:1533 and asks for firmware; card drives
// 8086:15f3.
func KernelOf(t testing.TB, release string) []byte {
	t.Helper()
	dir := "lib/modules/" + release + "/"
	return Deb(t, "linux-image-"+release, "1",
		File{Path: "boot/vmlinuz-" + release, Content: strings.Repeat("kernel ", 1000)},
		File{Path: dir + "kernel/drivers/net/leaf.ko", Content: Module(t, "name=leaf", "depends=base", "license=GPL",
			"alias=pci:v00008086d00001533sv*sd*bc*sc*i*", "firmware=leaf/a.bin")},
		File{Path: dir + "kernel/drivers/net/card.ko", Content: Module(t, "name=card", "depends=", "license=GPL",
			"alias=pci:v00008086d000015F3sv*sd*bc*sc*i*")},
		File{Path: dir + "kernel/lib/base.ko", Content: Module(t, "name=base", "depends=", "license=GPL")},
		File{Path: dir + "kernel/lib/other.ko", Content: Module(t, "name=other", "depends=", "license=GPL")},
		File{Path: dir + "modules.builtin"}, File{Path: dir + "modules.order"}, File{Path: dir + "modules.builtin.modinfo"})
}

// Firmware is a package of firmware: what leaf asks for is a link, and something nobody wants is beside it.
func Firmware(t testing.TB) []byte {
	t.Helper()
	return Deb(t, "firmware-leaf", "1", File{Path: "usr/lib/firmware/leaf/a.bin", Link: "v2/b.bin"},
		File{Path: "usr/lib/firmware/leaf/v2/b.bin", Content: "firmware"}, File{Path: "usr/lib/firmware/radio.bin", Content: "unwanted"})
}

// BzImage is the beginning of a kernel image of a release, as far as a builder looks at it.
func BzImage(release string) string {
	head := make([]byte, 0x1000)
	copy(head[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(head[0x20e:], 0x600)
	copy(head[0x800:], release+" (me@here) #1 SMP")
	return string(head)
}

// Module returns a relocatable ELF64 file with nothing but .modinfo, of the records given.
func Module(t testing.TB, info ...string) string {
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
