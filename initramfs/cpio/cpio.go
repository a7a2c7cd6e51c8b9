// Package cpio writes a tree.Tree as an initramfs archive: the "newc" format
// of cpio(5), as the Linux kernel reads it (init/initramfs.c and
// Documentation/driver-api/early-userspace/buffer-format.rst).
//
// The subset: folders, regular files, symbolic links, devices and fifos; no
// hard links. Inode numbers count from 1 in path order, so the bytes depend on
// the tree and the time given alone. Archives may follow each other in one
// initrd: each is padded to 512 bytes, and the kernel passes over the zeros.
package cpio

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/zstd"

	"picolab/initramfs/tree"
)

// Layout of newc: magic and 13 numbers of 8 hex digits, then the name with a
// NUL, then the content; the last two padded to 4 bytes.
const (
	magic      = "070701"
	headerSize = len(magic) + 13*8
	align      = 4
	trailer    = "TRAILER!!!"
	blockSize  = 512 // of an archive
)

// window is the history of the compressor in bytes, the largest that the
// kernel's decompressor promises to take (lib/decompress_unzstd.c).
const window = 8 << 20

// Compression says how a segment is packed.
type Compression int

// The compressions of Segment. ZstdFast is for what changes with every edit,
// ZstdBest for what is built once.
const (
	None Compression = iota
	ZstdFast
	ZstdDefault
	ZstdBest
)

var levels = map[Compression]zstd.EncoderLevel{
	ZstdFast:    zstd.SpeedFastest,
	ZstdDefault: zstd.SpeedDefault,
	ZstdBest:    zstd.SpeedBestCompression,
}

// Suffix is what a file packed by c ends with, after ".cpio".
func (c Compression) Suffix() string {
	if c == None {
		return ""
	}
	return ".zst"
}

// Segment writes t as Write does, packed by c and padded with NUL to a
// multiple of 512 bytes. Segments of any packing may be concatenated in any
// order; the kernel unpacks one after the other.
func Segment(w io.Writer, t *tree.Tree, mtime int64, c Compression) error {
	if c == None {
		return Write(w, t, mtime)
	}
	level, ok := levels[c]
	if !ok {
		return fmt.Errorf("write cpio segment: compression %d is not known", c)
	}
	count := &counter{w: w}
	z, err := zstd.NewWriter(count, zstd.WithEncoderLevel(level), zstd.WithWindowSize(window), zstd.WithSingleSegment(false))
	if err != nil {
		return fmt.Errorf("write cpio segment: %w", err)
	}
	if err := errors.Join(Write(z, t, mtime), z.Close()); err != nil {
		return fmt.Errorf("write cpio segment: %w", err)
	}
	return count.pad(blockSize)
}

// Write writes t as one newc archive with its trailer, padded with NUL to a
// multiple of 512 bytes. mtime, in seconds since 1970, is every file's; it and
// each file's size must fit 32 bits.
func Write(w io.Writer, t *tree.Tree, mtime int64) error {
	if mtime < 0 || mtime > math.MaxUint32 {
		return fmt.Errorf("write cpio: time %d does not fit 32 bits", mtime)
	}
	buf := bufio.NewWriterSize(w, 1<<20)
	a := &archive{w: &counter{w: buf}, mtime: uint32(mtime)}
	for path, e := range t.All() {
		if err := a.file(path, e); err != nil {
			return fmt.Errorf("write cpio: %s: %w", path, err)
		}
	}
	if err := a.close(); err != nil {
		return fmt.Errorf("write cpio: %w", err)
	}
	if err := buf.Flush(); err != nil {
		return fmt.Errorf("write cpio: %w", err)
	}
	return nil
}

// archive is one newc archive being written.
type archive struct {
	w     *counter
	mtime uint32
	inode uint32 // last one given
}

func (a *archive) file(path string, e tree.Entry) error {
	if e.Size() > math.MaxUint32 {
		return fmt.Errorf("%d bytes do not fit the format's 32-bit size", e.Size())
	}
	if path == trailer {
		return errors.New("the name ends an archive")
	}
	a.inode++
	if err := a.header(path, e, a.inode, a.mtime, links(e)); err != nil {
		return err
	}
	if err := a.content(e); err != nil {
		return err
	}
	return a.w.pad(align)
}

// links is the link count, by which the kernel knows hard links: no file of
// ours has a second name.
func links(e tree.Entry) uint32 {
	if e.IsDir() {
		return 2
	}
	return 1
}

func (a *archive) header(path string, e tree.Entry, inode, mtime, links uint32) error {
	fields := []uint32{
		inode, e.Mode, e.UID, e.GID, links, mtime, uint32(e.Size()),
		0, 0, // device the file is on
		e.Major(), e.Minor(),
		uint32(len(path) + 1), // with its NUL
		0,                     // checksum, of another variant of the format
	}
	b := append(make([]byte, 0, headerSize+len(path)+align), magic...)
	for _, f := range fields {
		b = fmt.Appendf(b, "%08X", f)
	}
	b = append(append(b, path...), 0)
	if _, err := a.w.Write(b); err != nil {
		return err
	}
	return a.w.pad(align)
}

// content writes a file's bytes or a link's target. A blob that yields more or
// less than it promised would shift all that follows.
func (a *archive) content(e tree.Entry) error {
	if e.Blob == nil {
		_, err := io.WriteString(a.w, e.Link)
		return err
	}
	r, err := e.Blob.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(a.w, r)
	if err == nil && n != e.Size() {
		err = fmt.Errorf("%d bytes where %d were promised", n, e.Size())
	}
	return err
}

func (a *archive) close() error {
	if err := a.header(trailer, tree.Entry{}, 0, 0, 1); err != nil {
		return err
	}
	return a.w.pad(blockSize)
}

// counter is a writer that knows how far it is.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// pad writes NUL up to a multiple of size.
func (c *counter) pad(size int64) error {
	if over := c.n % size; over != 0 {
		_, err := c.Write(bytes.Repeat([]byte{0}, int(size-over)))
		return err
	}
	return nil
}
