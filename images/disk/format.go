package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"

	diskfs "github.com/diskfs/go-diskfs"
	godisk "github.com/diskfs/go-diskfs/disk"
	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/diskfs/go-diskfs/partition"
	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/diskfs/go-diskfs/partition/mbr"
)

// label is the ESP's, what a desktop shows.
const label = "PICOLAB"

// blockSize is how much is written to a file of the ESP at a time.
const blockSize = 16 << 20

// format writes the partition table and the ESP with its files to f, which has the disk's size.
func (p *plan) format(ctx context.Context, f *os.File, files []file) error {
	g := gather(f)
	d, err := diskfs.OpenBackend(g, diskfs.WithSectorSize(sector))
	if err != nil {
		return err
	}
	table, esp := p.table()
	if err := d.Partition(table); err != nil {
		return fmt.Errorf("partition: %w", err)
	}
	fs, err := d.CreateFilesystem(godisk.FilesystemSpec{Partition: esp, FSType: filesystem.TypeFat32, VolumeLabel: label, Reproducible: true})
	if err != nil {
		return fmt.Errorf("make the file system: %w", err)
	}
	if err := fill(ctx, fs, files); err != nil {
		return err
	}
	return errors.Join(fs.Close(), g.flush())
}

// table is the partition table, and the number of the ESP in it.
func (p *plan) table() (partition.Table, int) {
	if p.layout == MBR {
		esp := &mbr.Partition{Index: 1, Bootable: true, Type: mbr.EFISystem, Start: uint32(p.espFirst), Size: uint32(p.espLast - p.espFirst + 1)}
		return &mbr.Table{LogicalSectorSize: sector, PhysicalSectorSize: sector, Partitions: []*mbr.Partition{esp}}, 1
	}
	return &gpt.Table{
		LogicalSectorSize: sector, PhysicalSectorSize: sector, ProtectiveMBR: true, GUID: p.disk,
		Partitions: []*gpt.Partition{
			{Index: 1, Start: gptCore, End: uint64(p.espFirst - 1), Type: gpt.BIOSBoot, Name: "BIOS boot", GUID: p.bios},
			{Index: 2, Start: uint64(p.espFirst), End: uint64(p.espLast), Type: gpt.EFISystemPartition, Name: "EFI system", GUID: p.esp},
		},
	}, 2
}

// fill writes the files, in their order: it decides which clusters they get.
func fill(ctx context.Context, fs filesystem.FileSystem, files []file) error {
	made := make(map[string]bool)
	buf := make([]byte, blockSize)
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if dir := path.Dir(f.path); !made[dir] {
			if err := fs.Mkdir(dir); err != nil {
				return fmt.Errorf("make folder %s: %w", dir, err)
			}
			made[dir] = true
		}
		if err := fillOne(fs, f, buf); err != nil {
			return fmt.Errorf("file %s: %w", f.path, err)
		}
	}
	return nil
}

func fillOne(fs filesystem.FileSystem, f file, buf []byte) error {
	out, err := fs.OpenFile(f.path, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return err
	}
	if err := f.copyTo(out, buf); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
