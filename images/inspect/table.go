package inspect

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"syscall"
	"unicode/utf16"
)

const (
	sector     = 512
	maxEntries = 1024 // of a GPT; tools make 128
)

// Partition types that disks of picolab have, and some that people may meet (UEFI 2.10 table 5-7, sgdisk -L).
var typeNames = map[string]string{
	"21686148-6449-6E6F-744E-656564454649": "BIOS boot", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B": "EFI system",
	"0FC63DAF-8483-4772-8E79-3D69D8477DE4": "Linux filesystem", "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7": "Microsoft basic data",
	"0x0b": "FAT32", "0x0c": "FAT32 (LBA)", "0xef": "EFI system", "0x83": "Linux",
}

// readTable reads the GPT, or the MBR when there is none.
func (d *Disk) readTable(medium io.ReaderAt) error {
	head := make([]byte, 2*sector)
	if _, err := medium.ReadAt(head, 0); err != nil {
		return fmt.Errorf("read partition table: %w", err)
	}
	if head[510] != 0x55 || head[511] != 0xaa {
		return errors.New("not a disk: it has no boot signature")
	}
	if bytes.HasPrefix(head[sector:], []byte("EFI PART")) {
		return d.readGPT(medium, head[sector:])
	}
	d.Table, d.ID = "mbr", fmt.Sprintf("%08x", binary.LittleEndian.Uint32(head[440:]))
	for i := range 4 {
		e := head[446+16*i:]
		first, count := int64(binary.LittleEndian.Uint32(e[8:])), int64(binary.LittleEndian.Uint32(e[12:]))
		if e[4] != 0 && count > 0 {
			if err := d.add(Partition{Number: i + 1, Type: fmt.Sprintf("0x%02x", e[4]), First: first, Size: count * sector}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *Disk) readGPT(medium io.ReaderAt, head []byte) error {
	size, at := binary.LittleEndian.Uint32(head[12:]), binary.LittleEndian.Uint64(head[72:])
	count, each := binary.LittleEndian.Uint32(head[80:]), binary.LittleEndian.Uint32(head[84:])
	if size < 92 || size > sector || count > maxEntries || each < 128 || each > 4096 || at > uint64(d.Size/sector) {
		return errors.New("GPT: sizes out of bounds")
	}
	plain := bytes.Clone(head[:size])
	copy(plain[16:20], []byte{0, 0, 0, 0})
	if crc32.ChecksumIEEE(plain) != binary.LittleEndian.Uint32(head[16:]) {
		return errors.New("GPT: the header's checksum is wrong")
	}
	entries := make([]byte, count*each)
	if _, err := medium.ReadAt(entries, int64(at)*sector); err != nil {
		return fmt.Errorf("GPT: read entries: %w", err)
	}
	if crc32.ChecksumIEEE(entries) != binary.LittleEndian.Uint32(head[88:]) {
		return errors.New("GPT: the entries' checksum is wrong")
	}
	d.Table, d.ID = "gpt", guid(head[56:])
	for i := range int(count) {
		if err := d.addGPT(i+1, entries[i*int(each):]); err != nil {
			return err
		}
	}
	return nil
}

func (d *Disk) addGPT(number int, e []byte) error {
	first, last := binary.LittleEndian.Uint64(e[32:]), binary.LittleEndian.Uint64(e[40:])
	if bytes.Equal(e[:16], make([]byte, 16)) {
		return nil
	}
	if last < first || last >= uint64(d.Size/sector) {
		return fmt.Errorf("GPT: partition %d is outside of the disk", number)
	}
	name := make([]uint16, 36)
	for i := range name {
		name[i] = binary.LittleEndian.Uint16(e[56+2*i:])
	}
	return d.add(Partition{Number: number, Name: text16(name), Type: guid(e), GUID: guid(e[16:]), First: int64(first), Size: int64(last-first+1) * sector})
}

func (d *Disk) add(p Partition) error {
	if p.First*sector+p.Size > d.Size {
		return fmt.Errorf("partition %d ends after the disk: the file is cut off", p.Number)
	}
	if name, ok := typeNames[p.Type]; ok {
		p.Type = name
	}
	d.Partitions = append(d.Partitions, p)
	return nil
}

// text16 is UTF-16 up to the first NUL.
func text16(s []uint16) string {
	for i, c := range s {
		if c == 0 {
			s = s[:i]
			break
		}
	}
	return string(utf16.Decode(s))
}

// guid writes 16 bytes as UEFI does: the first three groups are little-endian.
func guid(b []byte) string {
	return fmt.Sprintf("%08X-%04X-%04X-%X-%X", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16])
}

// allocated is what a file with holes takes.
func allocated(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}
