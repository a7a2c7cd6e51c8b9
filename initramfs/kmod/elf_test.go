package kmod

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"

	"picolab/initramfs/tree"
)

// ko describes a module for tests. needs and exports are symbols, by which
// depmod(8) finds the dependencies that depends= names.
type ko struct {
	path           string // below kernel/, unpacked
	info           []string
	exports, needs []string
}

// object builds a relocatable ELF64 file with .modinfo, the list of exported
// symbols where depmod reads it, and undefined symbols.
func (k ko) object() []byte {
	strtab := []byte{0}
	var symtab bytes.Buffer
	symbols := []elf.Sym64{{}}
	for _, name := range k.needs {
		symbols = append(symbols, elf.Sym64{Name: uint32(len(strtab)), Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_NOTYPE)})
		strtab = append(append(strtab, name...), 0)
	}
	mustWrite(&symtab, symbols)
	return assemble([]section{
		{".modinfo", elf.SHT_PROGBITS, 0, 0, zeroTerminated(k.info)},
		{"__ksymtab_strings", elf.SHT_PROGBITS, 0, 0, zeroTerminated(k.exports)},
		{".symtab", elf.SHT_SYMTAB, 4, 24, symtab.Bytes()}, // link: .strtab
		{".strtab", elf.SHT_STRTAB, 0, 0, strtab},
	})
}

type section struct {
	name    string
	kind    elf.SectionType
	link    uint32
	entsize uint64
	data    []byte
}

func assemble(sections []section) []byte {
	const headers = 64
	names := []byte{0}
	var body bytes.Buffer
	table := []elf.Section64{{}}
	add := func(s section) {
		table = append(table, elf.Section64{
			Name: uint32(len(names)), Type: uint32(s.kind), Off: uint64(headers + body.Len()),
			Size: uint64(len(s.data)), Link: s.link, Info: 1, Addralign: 1, Entsize: s.entsize,
		})
		names = append(append(names, s.name...), 0)
		body.Write(s.data)
		body.Write(make([]byte, -body.Len()&7))
	}
	for _, s := range sections {
		add(s)
	}
	add(section{".shstrtab", elf.SHT_STRTAB, 0, 0, append(bytes.Clone(names), ".shstrtab\x00"...)})
	h := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: headers,
		Shoff: uint64(headers + body.Len()), Shentsize: 64, Shnum: uint16(len(table)), Shstrndx: uint16(len(table) - 1),
	}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	var out bytes.Buffer
	mustWrite(&out, h)
	out.Write(body.Bytes())
	mustWrite(&out, table)
	return out.Bytes()
}

func mustWrite(b *bytes.Buffer, v any) {
	if err := binary.Write(b, binary.LittleEndian, v); err != nil {
		panic(err) // unreachable: fixed-size values into memory
	}
}

func zeroTerminated(records []string) []byte {
	if len(records) == 0 {
		return nil
	}
	return []byte(strings.Join(records, "\x00") + "\x00")
}

// release of the kernel that the tests make up.
const release = "6.12.0-test"

// kernel is a small package with the shapes that real ones have.
func kernel(t testing.TB) *tree.Tree {
	t.Helper()
	return packageOf(t, []ko{
		{path: "drivers/net/virtio_net.ko", info: []string{"license=GPL", "alias=virtio:d00000001v*", "depends=net_failover", "vermagic=" + release + " SMP"}, needs: []string{"net_failover_create"}},
		{path: "drivers/net/net_failover.ko", info: []string{"depends=failover"}, exports: []string{"net_failover_create"}, needs: []string{"failover_register"}},
		{path: "net/core/failover.ko", info: []string{"depends="}, exports: []string{"failover_register"}},
		{path: "drivers/net/ethernet/intel/e1000/e1000.ko", info: []string{"depends=", "alias=pci:v00008086d0000100Esv*sd*bc*sc*i*"}},
		{path: "drivers/net/ethernet/intel/igb/igb.ko", info: []string{"depends=i2c-algo-bit,dca,ptp"}, needs: []string{"i2c_bit_add_bus", "dca_add", "ptp_clock"}},
		{path: "drivers/i2c/algos/i2c-algo-bit.ko", info: []string{"depends="}, exports: []string{"i2c_bit_add_bus"}},
		{path: "drivers/dca/dca.ko", info: []string{"depends=ptp"}, exports: []string{"dca_add"}, needs: []string{"ptp_clock"}},
		{path: "drivers/ptp/ptp.ko", info: []string{"depends="}, exports: []string{"ptp_clock"}},
		{path: "drivers/net/ethernet/realtek/r8169.ko", info: []string{"softdep=pre: realtek", "depends="}},
		{path: "drivers/net/phy/realtek.ko", info: []string{"depends="}},
		{path: "drivers/vfio/vfio.ko", info: []string{"depends=", "softdep=post: vfio_iommu_type1 vfio_iommu_none"}, exports: []string{"vfio_register"}},
		{path: "drivers/vfio/vfio_iommu_type1.ko", info: []string{"depends=vfio"}, needs: []string{"vfio_register"}},
		{path: "net/openvswitch/openvswitch.ko", info: []string{"depends=libcrc32c"}, needs: []string{"crc32c"}},
		{path: "lib/libcrc32c.ko", info: []string{"depends=", "softdep=pre: crc32c"}, exports: []string{"crc32c"}},
		{path: "crypto/crc32c_generic.ko", info: []string{"depends=", "alias=crypto-crc32c", "alias=crc32c"}},
		{path: "arch/x86/crypto/crc32c-intel.ko", info: []string{"depends=", "alias=crc32c", "alias=crypto-crc32c"}},
		{path: "fs/ksmbd.ko", info: []string{"depends=", "softdep=gcm pre: ksmbd_aes platform:leds nothing-at-all"}},
		{path: "drivers/misc/self.ko", info: []string{"depends=other"}},
		{path: "drivers/misc/other.ko", info: []string{"depends=self"}},
		{path: "drivers/misc/orphan.ko", info: []string{"depends=no_such_module"}},
	})
}

// packageOf makes an unpacked kernel package with its modules compressed.
func packageOf(t testing.TB, modules []ko) *tree.Tree {
	t.Helper()
	tr := tree.New()
	put := func(path string, data []byte) {
		if err := tr.Put("usr/lib/modules/"+release+"/"+path, tree.Regular(0o644, tree.Bytes(data)).From("linux.deb")); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range modules {
		name := "name=" + fileAt(k.path).name
		k.info = append(k.info, name)
		put("kernel/"+k.path+".xz", pack(t, k.object()))
	}
	put("modules.builtin", []byte("kernel/drivers/virtio/virtio_pci.ko\nkernel/crypto/ksmbd-aes.ko\n"))
	put("modules.builtin.modinfo", []byte("virtio_pci.license=GPL\x00virtio_pci.alias=pci:v00001AF4d*\x00ksmbd_aes.alias=crypto-aes\x00"))
	put("modules.order", nil)
	if err := tr.Put("boot/vmlinuz-"+release, tree.Regular(0o644, tree.Bytes([]byte("kernel")))); err != nil {
		t.Fatal(err)
	}
	return tr
}

func pack(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.WriterConfig{DictCap: 1 << 12, BufSize: 1 << 12}.NewWriter(&b) // the default takes 16 MiB a time
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
