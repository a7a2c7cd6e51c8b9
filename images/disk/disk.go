// Package disk makes a bootable disk of an image: one file that boots on old BIOS PCs, on UEFI, and on UEFI with Secure
// Boot, from a USB stick or as a virtual disk. It needs no root, loop device or mount.
//
// The disk has a GPT with two partitions: GRUB's core for BIOSes, and a FAT32 EFI system partition (ESP) with shim, the
// signed GRUB, its menu, the kernel and the boot segments. Layout MBR has an MBR and the ESP alone, for BIOSes that boot
// nothing else. Sectors are of 512 bytes. There is no root filesystem: the image runs from memory.
//
// Boot loaders and grub-mkimage are those of the packages in an unpacked host image. The bytes depend on the image and
// these packages alone.
//
// Sources: UEFI 2.10 sections 5 (GPT) and 13.3 (ESP), Microsoft's FAT specification 1.03, GRUB 2.12's util/setup.c and
// include/grub/i386/pc/boot.h, QEMU's docs/interop/qcow2.rst.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"picolab/images/manifest"
)

// Format is how the disk's bytes are laid out in the file.
type Format string

// Formats.
const (
	Raw   Format = "raw"   // byte for byte, with holes
	QCOW2 Format = "qcow2" // QEMU's, version 3
)

// Layout is the kind of partition table.
type Layout string

// Layouts.
const (
	GPT Layout = "gpt"
	MBR Layout = "mbr"
)

// Options says what to write and where to.
type Options struct {
	Image   *manifest.Manifest // read from its directory
	Loaders string             // root filesystem that has the boot loaders, see CheckLoaders
	Output  string             // the file, replaced when everything is written
	Format  Format             // Raw when empty
	Layout  Layout             // GPT when empty
	Free    int64              // bytes to leave free on the ESP for the user, DefaultFree when 0
	Pack    bool               // compress the clusters of a QCOW2, which takes the loaders' qemu-img and some seconds
}

// DefaultFree is the room for results and the user's files.
const DefaultFree = 32 << 20

// Result tells about a disk written.
type Result struct {
	Size int64  // of the disk in bytes; a file may be shorter
	ESP  int64  // bytes of the EFI system partition
	Used int64  // bytes of files in it
	GUID string // of the disk; with layout MBR its signature, 8 hex digits
}

// Write makes the disk. On an error Output is what it was before. Files of the image are compared with the manifest on
// the way: the error is a *manifest.MismatchError when one was changed. Boot loaders that are missing are a *LoaderError.
func Write(ctx context.Context, o Options) (*Result, error) {
	res, err := o.write(ctx)
	if err != nil {
		return nil, fmt.Errorf("write disk %s: %w", o.Output, err)
	}
	return res, nil
}

func (o *Options) write(ctx context.Context) (*Result, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	ldr, err := readLoaders(ctx, o.Loaders, earlyConfig(o.Image))
	if err != nil {
		return nil, err
	}
	files := espFiles(o.Image, ldr)
	p := newPlan(o, files)
	if p.espSize() > maxESP {
		return nil, fmt.Errorf("the EFI system partition would have %d bytes, at most %d are allowed", p.espSize(), int64(maxESP))
	}
	err = replaceFile(o.Output, func(f *os.File) error {
		if o.Format == Raw {
			return p.raw(ctx, f, ldr, files)
		}
		return p.qcow2(ctx, f, ldr, files, o.packer())
	})
	if err != nil {
		return nil, err
	}
	return &Result{Size: p.size, ESP: p.espSize(), Used: total(files), GUID: p.name()}, nil
}

// check fills in defaults and refuses what cannot be written.
func (o *Options) check() error {
	o.Format, o.Layout = first(o.Format, Raw), first(o.Layout, GPT)
	if o.Free == 0 {
		o.Free = DefaultFree
	}
	switch {
	case o.Format != Raw && o.Format != QCOW2:
		return fmt.Errorf("unknown format %q: give %s or %s", o.Format, Raw, QCOW2)
	case o.Layout != GPT && o.Layout != MBR:
		return fmt.Errorf("unknown layout %q: give %s or %s", o.Layout, GPT, MBR)
	case o.Pack && o.Format != QCOW2:
		return fmt.Errorf("only %s can be compressed", QCOW2)
	case o.Free < 0 || o.Free > maxESP:
		return fmt.Errorf("%d bytes cannot be left free", o.Free)
	case o.Image.Kernel() == "":
		return fmt.Errorf("image %s has no kernel", o.Image.Name)
	case o.Image.Architecture != "amd64":
		return fmt.Errorf("image %s is for %s, only amd64 boots here", o.Image.Name, o.Image.Architecture)
	}
	return nil
}

func first[T ~string](a, b T) T {
	if a != "" {
		return a
	}
	return b
}

// raw writes the disk to f, an empty file.
func (p *plan) raw(ctx context.Context, f *os.File, ldr *loaders, files []file) error {
	if err := f.Truncate(p.size); err != nil {
		return err
	}
	if err := p.format(ctx, f, files); err != nil {
		return err
	}
	v := volume{f, p.espFirst * sector, p.espFirst}
	if err := v.mend(p.volumeID, p.epoch); err != nil {
		return fmt.Errorf("mend the file system: %w", err)
	}
	return p.embed(f, ldr)
}

// A packer makes one format of another.
type packer func(ctx context.Context, out, disk *os.File) error

// packer is what makes the qcow2.
func (o *Options) packer() packer {
	if o.Pack {
		return func(ctx context.Context, out, disk *os.File) error { return compress(ctx, o.Loaders, out, disk) }
	}
	return func(ctx context.Context, out, disk *os.File) error {
		info, err := disk.Stat()
		if err != nil {
			return err
		}
		return writeQCOW2(ctx, out, io.NewSectionReader(disk, 0, info.Size()))
	}
}

// qcow2 writes the disk to a scratch file first: a qcow2 header says how much comes after it.
func (p *plan) qcow2(ctx context.Context, f *os.File, ldr *loaders, files []file, pack packer) (err error) {
	scratch, err := os.CreateTemp(filepath.Dir(f.Name()), ".disk-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scratch.Close()) }()
	if err := os.Remove(scratch.Name()); err != nil { // it stays as long as it is open
		return err
	}
	if err := p.raw(ctx, scratch, ldr, files); err != nil {
		return err
	}
	return pack(ctx, f, scratch)
}
