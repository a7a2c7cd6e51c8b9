// Package cpio writes a tree.Tree as an initramfs archive: the "newc" format
// of cpio(5) as the Linux kernel reads it.
package cpio

import (
	"io"

	"picolab/initramfs/tree"
)

// Compression says how a segment is packed.
type Compression int

// The compressions of Segment; ZstdFast for what changes often, ZstdBest for
// what is built once.
const (
	None Compression = iota
	ZstdFast
	ZstdDefault
	ZstdBest
)

// Write writes t as one newc archive with its trailer, padded with NUL to a
// multiple of 512 bytes so that archives can follow each other. mtime (seconds
// since 1970) is every file's. The bytes depend on t and mtime alone.
func Write(w io.Writer, t *tree.Tree, mtime int64) error { panic("TODO") }

// Segment writes t as Write does, packed by c. Segments of any packing may be
// concatenated in any order; the kernel unpacks one after the other.
func Segment(w io.Writer, t *tree.Tree, mtime int64, c Compression) error { panic("TODO") }

// Read reads one archive as Write writes it. Contents are held in memory.
func Read(r io.Reader) (*tree.Tree, error) { panic("TODO") }
