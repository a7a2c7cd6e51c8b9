// Package deb unpacks Debian binary packages (deb(5)) into a tree.Tree.
package deb

import (
	"context"
	"io"

	"picolab/initramfs/tree"
)

// Control is what the image's records need of a package's control file
// (deb-control(5)) and its copyright file.
type Control struct {
	Package, Version, Architecture string
	Source                         string // source package name, without a version in parentheses
	SourceVersion                  string // version of the source package; Version unless it says otherwise
	Maintainer, Homepage           string
	Copyright                      string // path in the tree, "" when the package has none
}

// Options adjusts Unpack.
type Options struct {
	// Keep, when set, says which paths of the package are wanted; what it
	// refuses is read past. KeepName names the choice for the Cache, and
	// must change when Keep's answer does.
	Keep     func(path string) bool
	KeepName string
	// UsrMerge moves bin, sbin, lib, lib32, lib64 and libx32 below usr, as
	// every Debian since 12 has them on disk.
	UsrMerge bool
	// Limits replaces the default bounds where not zero.
	Limits Limits
}

// Limits bounds what a package may hold. Zero fields mean the default.
type Limits struct {
	Bytes   int64 // unpacked data.tar, default 4 GiB
	Ratio   int64 // unpacked to packed, default 200
	Entries int   // files and folders, default 200,000
	Control int64 // unpacked control.tar, default 16 MiB
}

// Unpack reads the package in r and puts its files into the tree; contents go
// to blobs. name is for messages and for Entry.Source. On an error into is
// left as it was.
func Unpack(ctx context.Context, r io.ReaderAt, size int64, name string, into *tree.Tree, blobs *Blobs, opt Options) (Control, error) {
	panic("TODO")
}

// Blobs is a content-addressed folder of files.
type Blobs struct{ dir string }

// OpenBlobs makes or opens the folder dir.
func OpenBlobs(dir string) (*Blobs, error) { panic("TODO") }

// Put stores what r yields and returns it as a Blob; the same content is
// stored once.
func (b *Blobs) Put(r io.Reader) (tree.Blob, error) { panic("TODO") }

// Cache remembers unpacked packages by their SHA-256, so that a second build
// reads an index instead of unpacking. Its blobs are in the same folder.
type Cache struct{ blobs *Blobs }

// OpenCache makes or opens the folder dir.
func OpenCache(dir string) (*Cache, error) { panic("TODO") }

// Blobs returns the cache's store of contents.
func (c *Cache) Blobs() *Blobs { return c.blobs }

// Unpack is Unpack of the .deb r, whose SHA-256 in hex the caller has checked.
// The files come from the cache when they are there and intact.
func (c *Cache) Unpack(ctx context.Context, r io.ReaderAt, size int64, sha256, name string, into *tree.Tree, opt Options) (Control, error) {
	panic("TODO")
}
