// Package newc writes small cpio archives in the "newc" format (cpio(5); Documentation/driver-api/early-userspace/
// buffer-format.rst of Linux): the segment of run-time files that a lab appends to a guest's initrd.
//
// Subset: regular files and the folders above them, owner root, time 0, no hard links, at most 4 GiB a file.
package newc

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
)

// A File is one regular file. Path is relative and clean.
type File struct {
	Path string
	Mode fs.FileMode // permission bits
	Data []byte
}

// The S_IFMT values of inode(7).
const (
	modeDir  = 0o040000
	modeFile = 0o100000
)

// Write writes files, the folders above them and the trailer. The same files give the same bytes. An initrd is a chain of
// such archives; each starts on a multiple of four bytes, which Write's output keeps.
func Write(w io.Writer, files []File) error {
	a := &archive{w: w}
	var made []string
	for _, f := range files {
		if !fs.ValidPath(f.Path) || f.Path == "." {
			return fmt.Errorf("write cpio entry %q: not a relative clean path", f.Path)
		}
		for _, dir := range parents(f.Path) {
			if !slices.Contains(made, dir) {
				made = append(made, dir)
				a.entry(dir, modeDir|0o755, nil)
			}
		}
		a.entry(f.Path, modeFile|uint32(f.Mode.Perm()), f.Data)
	}
	a.entry("TRAILER!!!", 0, nil)
	return a.err
}

// parents lists the folders above p, outermost first.
func parents(p string) []string {
	var dirs []string
	for d := path.Dir(p); d != "."; d = path.Dir(d) {
		dirs = append(dirs, d)
	}
	slices.Reverse(dirs)
	return dirs
}

// An archive numbers its entries and keeps the first error.
type archive struct {
	w   io.Writer
	ino uint32
	err error
}

func (a *archive) entry(name string, mode uint32, data []byte) {
	a.ino++
	links := 1
	if mode&modeDir != 0 && mode&modeFile == 0 {
		links = 2
	}
	// magic ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
	head := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		a.ino, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
	a.write([]byte(head + name + "\x00"))
	a.pad(len(head) + len(name) + 1)
	a.write(data)
	a.pad(len(data))
}

func (a *archive) pad(n int) { a.write(make([]byte, -n&3)) }

func (a *archive) write(p []byte) {
	if a.err == nil {
		_, a.err = a.w.Write(p)
	}
}
