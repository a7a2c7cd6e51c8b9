package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"picolab/images/manifest"
)

// folder is where a disk has the image's files.
const folder = "/picolab"

// maxManifest bounds the manifest on a disk, in bytes.
const maxManifest = 16 << 20

// Disk describes a bootable disk.
type Disk struct {
	Format     string      `json:"format"`      // raw or qcow2
	Size       int64       `json:"size"`        // bytes of the disk
	FileSize   int64       `json:"file_size"`   // bytes of its file
	Allocated  int64       `json:"allocated"`   // bytes that the file takes on this machine
	Table      string      `json:"table"`       // gpt or mbr
	ID         string      `json:"id"`          // GUID of the GPT, signature of the MBR
	Partitions []Partition `json:"partitions"`  // by number
	Menu       string      `json:"menu"`        // GRUB's, as it is on the disk
	Site       bool        `json:"site_folder"` // there is a folder of local settings: the image is not as built
	Results    int         `json:"results"`     // folders of results on it
}

// Partition is one entry of the table.
type Partition struct {
	Number     int    `json:"number"`
	Name       string `json:"name,omitempty"`
	Type       string `json:"type"`  // in words where known, else GUID or number
	First      int64  `json:"first"` // sector of 512 bytes
	Size       int64  `json:"size"`  // bytes
	GUID       string `json:"guid,omitempty"`
	FileSystem string `json:"file_system,omitempty"`
	Volume     string `json:"volume,omitempty"` // id of the FAT
	Free       int64  `json:"free,omitempty"`   // bytes
	Files      int64  `json:"files,omitempty"`  // bytes of all files
}

func openDisk(ctx context.Context, name string) (*Report, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	medium, d, err := openFormat(f)
	if err != nil {
		return nil, err
	}
	if err := d.readTable(medium); err != nil {
		return nil, err
	}
	r := &Report{Path: name, Disk: d}
	for i := range d.Partitions {
		if err := r.readPartition(ctx, medium, &d.Partitions[i]); err != nil {
			return nil, fmt.Errorf("partition %d: %w", d.Partitions[i].Number, err)
		}
	}
	return r, nil
}

// openFormat returns the disk as a reader.
func openFormat(f *os.File) (io.ReaderAt, *Disk, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	d := &Disk{Format: "raw", Size: info.Size(), FileSize: info.Size(), Allocated: allocated(info)}
	head := make([]byte, qcowHeader)
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, nil, errors.New("neither a disk nor an image's folder: it is too short")
	}
	if string(head[:4]) != qcowMagic {
		return f, d, nil
	}
	q, err := openQCOW2(f, head)
	if err != nil {
		return nil, nil, fmt.Errorf("qcow2: %w", err)
	}
	d.Format, d.Size = "qcow2", q.size
	return q, d, nil
}

// readPartition looks into a partition that has a FAT, and for the image there.
func (r *Report) readPartition(ctx context.Context, medium io.ReaderAt, p *Partition) error {
	v, err := openFAT(io.NewSectionReader(medium, p.First*sector, p.Size))
	if errors.Is(err, errNotFAT) {
		return nil
	}
	if err != nil {
		return err
	}
	p.FileSystem, p.Volume = "FAT32", fmt.Sprintf("%04X-%04X", v.serial>>16, v.serial&0xffff)
	if p.Free, p.Files, err = v.usage(); err != nil {
		return err
	}
	return r.readImage(ctx, v)
}

func (r *Report) readImage(ctx context.Context, v *fat) error {
	data, err := v.readFile(folder+"/"+manifest.Name, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if r.Image, err = manifest.Parse(data); err != nil {
		return err
	}
	if menu, err := v.readFile("/EFI/debian/grub.cfg", maxManifest); err == nil {
		r.Disk.Menu = string(menu)
	}
	r.Disk.Site = v.isDir(folder + "/site")
	if results, err := v.list(folder + "/results"); err == nil {
		r.Disk.Results = len(results)
	}
	return r.readFiles(ctx, func(name string) (io.ReadCloser, error) { return v.open(path.Join(folder, name)) })
}
