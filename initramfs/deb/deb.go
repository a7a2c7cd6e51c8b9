// Package deb unpacks Debian binary packages (deb(5)) into a tree.Tree.
//
// The subset: format 2.0; control.tar and data.tar plain or packed by xz, zstd
// or gzip; folders, regular files, symbolic links, and hard links to files of
// the same package (which become the same content). Maintainer scripts are
// never read, let alone run.
//
// A package is data from outside even when its digest is in a lock. Whatever
// it holds, nothing is written but contents into the Blobs folder, under names
// made of their digests; paths exist only as keys of the tree. Refused are:
// paths that are absolute or have "..", files below a symbolic link, hard
// links to anything else, devices, fifos, sparse files, duplicates, and
// anything over the Limits.
package deb

import (
	"context"
	"fmt"
	"io"

	"picolab/initramfs/internal/decompress"
	"picolab/initramfs/tree"
)

// Control is what the image's records need of a package: fields of its
// control file (deb-control(5)) and findings about its files.
type Control struct {
	Package, Version, Architecture string
	Source                         string   // source package; Package unless the field says otherwise
	SourceVersion                  string   // its version; Version unless the field says otherwise
	Maintainer, Homepage           string   // as the fields have them
	Copyright                      string   // path of the copyright file, "" without one; it may be that of another package
	Setuid                         []string // paths with setuid or setgid bits, which are kept
}

// Options adjusts Unpack.
type Options struct {
	// Keep, when set, says which paths of the package are wanted; the rest is
	// read past. It is asked after UsrMerge. KeepName names the choice for
	// the Cache, and must change when Keep's answers do; without it the Cache
	// unpacks every time.
	Keep     func(path string) bool
	KeepName string
	// UsrMerge moves bin, sbin, lib, lib32, lib64 and libx32 below usr, where
	// every Debian since 12 has them.
	UsrMerge bool
	// Limits replaces the default bounds where not zero.
	Limits Limits
}

// Limits bounds what a package may hold. Zero fields mean the default.
type Limits struct {
	Bytes   int64 // of data.tar unpacked, and of all file sizes in it; 4 GiB
	Ratio   int64 // of data.tar unpacked to packed, once over 64 MiB; 100
	Entries int   // files, links and folders; 200,000
	Control int64 // bytes of control.tar unpacked; 16 MiB
}

// ratioFrom is how much may come out of however little: small packages of
// zeros are no danger.
const ratioFrom = 64 << 20

func (l Limits) withDefaults() Limits {
	if l.Bytes == 0 {
		l.Bytes = 4 << 30
	}
	if l.Ratio == 0 {
		l.Ratio = 100
	}
	if l.Entries == 0 {
		l.Entries = 200_000
	}
	if l.Control == 0 {
		l.Control = 16 << 20
	}
	return l
}

// data returns how many bytes a data.tar of the packed size may unpack to.
func (l Limits) data(packed int64) int64 {
	if packed > l.Bytes/l.Ratio {
		return l.Bytes
	}
	return min(l.Bytes, max(ratioFrom, packed*l.Ratio))
}

// Unpack reads the package in the size bytes of r and puts its files into the
// tree; their contents go to blobs. name is for messages and Entry.Source. On
// an error into is left as it was.
func Unpack(ctx context.Context, r io.ReaderAt, size int64, name string, into *tree.Tree, blobs *Blobs, opt Options) (Control, error) {
	own, c, err := unpack(ctx, r, size, name, blobs, opt)
	if err != nil {
		return Control{}, fmt.Errorf("unpack %s: %w", name, err)
	}
	if err := into.Merge(own); err != nil {
		return Control{}, fmt.Errorf("unpack %s: %w", name, err)
	}
	return c, nil
}

// unpack reads the package into a tree of its own.
func unpack(ctx context.Context, r io.ReaderAt, size int64, name string, blobs *Blobs, opt Options) (*tree.Tree, Control, error) {
	limits := opt.Limits.withDefaults()
	parts, err := open(r, size)
	if err != nil {
		return nil, Control{}, err
	}
	c, err := readControl(parts.control, limits)
	if err != nil {
		return nil, Control{}, fmt.Errorf("control.tar: %w", err)
	}
	u := newUnpacker(ctx, name, c.Package, blobs, opt, limits)
	if err := u.data(parts.data); err != nil {
		return nil, Control{}, fmt.Errorf("data.tar: %w", err)
	}
	c.Setuid = u.setuid
	c.Copyright = u.rights
	return u.tree, c, nil
}

// stream opens a member's unpacked bytes, at most max of them.
func (m member) stream(max int64) (io.Reader, func() error, error) {
	z, err := decompress.Open(m.suffix, m.SectionReader)
	if err != nil {
		return nil, nil, err
	}
	return decompress.Limit(z, max), z.Close, nil
}
