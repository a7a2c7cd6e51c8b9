package tree

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ReadDir returns the tree of the files in dir, with every owner 0:0 and
// setuid and setgid dropped: what WriteDir was given, as Unprivileged. Contents
// are read once for their digests. Links are not followed.
func ReadDir(dir string) (*Tree, error) {
	t := New()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		e, err := readEntry(name, d)
		if err != nil {
			return err
		}
		path, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		return t.Put(path, e)
	})
	if err != nil {
		return nil, fmt.Errorf("read tree of %s: %w", dir, err)
	}
	return t, nil
}

func readEntry(name string, d fs.DirEntry) (Entry, error) {
	info, err := d.Info()
	if err != nil {
		return Entry{}, err
	}
	perm := uint32(info.Mode().Perm())
	if info.Mode()&fs.ModeSticky != 0 {
		perm |= 0o1000
	}
	switch info.Mode().Type() {
	case fs.ModeDir:
		return Dir(perm), nil
	case fs.ModeSymlink:
		target, err := os.Readlink(name)
		return Symlink(target), err
	case 0:
		blob, err := OpenFile(name)
		return Regular(perm, blob), err
	}
	return Entry{}, fmt.Errorf("%s is a %s", name, info.Mode().Type())
}
