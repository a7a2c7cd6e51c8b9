package tree

import (
	"errors"
	"fmt"
	"strings"
)

// Dir describes a folder.
func Dir(perm uint32) Entry { return Entry{Mode: TypeDir | perm&PermMask} }

// Regular describes a file with the content of b.
func Regular(perm uint32, b Blob) Entry { return Entry{Mode: TypeRegular | perm&PermMask, Blob: b} }

// Symlink describes a symbolic link. Its target is not looked at: it is text.
func Symlink(target string) Entry { return Entry{Mode: TypeSymlink | 0o777, Link: target} }

// CharDevice describes a character device node.
func CharDevice(perm uint32, major, minor uint32) Entry {
	return Entry{Mode: TypeChar | perm&PermMask, Rdev: Dev(major, minor)}
}

// Dev makes the device number that Entry.Rdev holds: major in the upper half,
// minor in the lower.
func Dev(major, minor uint32) uint64 { return uint64(major)<<32 | uint64(minor) }

// Major returns the major number of e.
func (e Entry) Major() uint32 { return uint32(e.Rdev >> 32) }

// Minor returns the minor number of e.
func (e Entry) Minor() uint32 { return uint32(e.Rdev) }

// Type returns the file type bits of e.
func (e Entry) Type() uint32 { return e.Mode & TypeMask }

// Perm returns the permission bits of e, with setuid, setgid and sticky.
func (e Entry) Perm() uint32 { return e.Mode & PermMask }

// IsDir reports whether e is a folder.
func (e Entry) IsDir() bool { return e.Type() == TypeDir }

// IsRegular reports whether e is a regular file.
func (e Entry) IsRegular() bool { return e.Type() == TypeRegular }

// IsSymlink reports whether e is a symbolic link.
func (e Entry) IsSymlink() bool { return e.Type() == TypeSymlink }

// Size returns the length of e's content in bytes, that of its target for a
// link.
func (e Entry) Size() int64 {
	if e.Blob != nil {
		return e.Blob.Size()
	}
	return int64(len(e.Link))
}

// From returns e with its source named.
func (e Entry) From(source string) Entry {
	e.Source = source
	return e
}

// Same reports whether e and o would write the same file.
func (e Entry) Same(o Entry) bool { return e.differs(o) == "" }

// differs names what first tells e and o apart, "" when nothing does.
func (e Entry) differs(o Entry) string {
	switch {
	case e.Type() != o.Type():
		return fmt.Sprintf("type %s, %s", typeName(e.Type()), typeName(o.Type()))
	case e.Perm() != o.Perm():
		return fmt.Sprintf("mode %04o, %04o", e.Perm(), o.Perm())
	case e.UID != o.UID || e.GID != o.GID:
		return fmt.Sprintf("owner %d:%d, %d:%d", e.UID, e.GID, o.UID, o.GID)
	case e.Link != o.Link:
		return fmt.Sprintf("link to %q, %q", e.Link, o.Link)
	case e.Rdev != o.Rdev:
		return fmt.Sprintf("device %d:%d, %d:%d", e.Major(), e.Minor(), o.Major(), o.Minor())
	case e.Size() != o.Size():
		return fmt.Sprintf("size %d, %d", e.Size(), o.Size())
	case e.Blob != nil && e.Blob.SHA256() != o.Blob.SHA256():
		a, b := e.Blob.SHA256(), o.Blob.SHA256()
		return fmt.Sprintf("content sha256 %x, %x", a[:6], b[:6])
	}
	return ""
}

// check refuses entries that no file system could hold.
func (e Entry) check() error {
	switch {
	case e.Mode&^(TypeMask|PermMask) != 0:
		return fmt.Errorf("mode %#o has unknown bits", e.Mode)
	case e.IsRegular() != (e.Blob != nil):
		return fmt.Errorf("%s with content %t", typeName(e.Type()), e.Blob != nil)
	case e.IsSymlink() != (e.Link != ""):
		return fmt.Errorf("%s with link target %q", typeName(e.Type()), e.Link)
	case len(e.Link) > MaxPath || strings.ContainsRune(e.Link, 0):
		return errors.New("link target is too long or has a NUL")
	case typeName(e.Type()) == "":
		return fmt.Errorf("file type %#o is not known", e.Type())
	}
	return nil
}

// CheckPath refuses paths that are not clean, relative and inside the tree, or
// longer than Linux takes.
func CheckPath(path string) error {
	if path == "" || len(path) > MaxPath || strings.ContainsRune(path, 0) {
		return fmt.Errorf("path %.80q: empty, too long or with a NUL", path)
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." || len(name) > MaxName {
			return fmt.Errorf("path %.80q: not clean and relative", path)
		}
	}
	return nil
}

func typeName(t uint32) string {
	switch t {
	case TypeDir:
		return "folder"
	case TypeRegular:
		return "file"
	case TypeSymlink:
		return "link"
	case TypeChar:
		return "character device"
	case TypeBlock:
		return "block device"
	case TypeFIFO:
		return "fifo"
	}
	return ""
}

// ConflictError says that two sources want different things at one path.
type ConflictError struct {
	Path     string
	Old, New Entry
}

// Error names the path, both sources and what differs.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("conflict at %s between %s and %s: %s",
		e.Path, sourceName(e.Old), sourceName(e.New), e.Old.differs(e.New))
}

func sourceName(e Entry) string {
	if e.Source == "" {
		return "(unnamed)"
	}
	return e.Source
}
