// Package tree is the pivot type of the builder: a file tree as a value.
//
// A Tree maps clean relative paths ("usr/bin/x", never a leading slash, never
// "..") to entries. Everything that makes files makes a Tree, and everything
// that writes an image reads one: packages and busybox in, cpio segments and
// root folders out. A Tree holds no times (an image has one, its epoch) and no
// contents (a Blob says where they are), so it is cheap to copy and compare.
//
// A path has one owner: putting something different where something already is
// fails, and the error names both sources.
package tree

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// File type bits of Entry.Mode, as in inode(7).
const (
	TypeMask    = 0o170000
	TypeDir     = 0o040000
	TypeRegular = 0o100000
	TypeSymlink = 0o120000
	TypeChar    = 0o020000
	TypeBlock   = 0o060000
	TypeFIFO    = 0o010000
	PermMask    = 0o007777 // permission bits with setuid, setgid and sticky
)

// MaxPath is the longest path a Tree holds: PATH_MAX of Linux less its NUL.
const MaxPath = 4095

// MaxName is the longest single component, NAME_MAX of Linux.
const MaxName = 255

// Entry is one file. Source names where it came from (a package, a recipe) for
// messages; it takes no part in comparison or digests.
type Entry struct {
	Mode     uint32 // type and permission bits
	UID, GID uint32
	Blob     Blob   // content of a regular file, else nil
	Link     string // target of a symbolic link, else ""
	Rdev     uint64 // device number of a device node, as Dev makes it
	Source   string
}

// Tree is a sorted map from path to Entry. It is not safe for writing from
// several goroutines; reading from several is.
type Tree struct {
	entries map[string]node
}

// node is an Entry, or a parent folder nobody asked for by name.
type node struct {
	Entry
	implied bool
}

// New returns an empty tree.
func New() *Tree { return &Tree{entries: make(map[string]node)} }

// Len returns the number of entries, folders included.
func (t *Tree) Len() int { return len(t.entries) }

// Get returns the entry at path.
func (t *Tree) Get(path string) (Entry, bool) {
	n, ok := t.entries[path]
	return n.Entry, ok
}

// All yields every entry in byte order of the paths, so a folder comes before
// what is in it.
func (t *Tree) All() iter.Seq2[string, Entry] {
	return func(yield func(string, Entry) bool) {
		for _, path := range slices.Sorted(maps.Keys(t.entries)) {
			if !yield(path, t.entries[path].Entry) {
				return
			}
		}
	}
}

// Put adds e at path, and the missing folders above it with mode 0755. The
// same entry may be put twice; a different one is a *ConflictError. A path
// that runs through anything but folders is one too: a tree has no way to
// write through a link.
func (t *Tree) Put(path string, e Entry) error {
	if err := CheckPath(path); err != nil {
		return err
	}
	if err := e.check(); err != nil {
		return fmt.Errorf("put %s: %w", path, err)
	}
	if err := t.putParents(path, e); err != nil {
		return err
	}
	old, ok := t.entries[path]
	switch {
	case !ok || (old.implied && e.IsDir()):
		t.entries[path] = node{Entry: e}
	case !old.Same(e):
		return &ConflictError{Path: path, Old: old.Entry, New: e}
	}
	return nil
}

// putParents makes the folders above path, nearest first, until one is there.
func (t *Tree) putParents(path string, e Entry) error {
	var missing []string
	for dir := parent(path); dir != ""; dir = parent(dir) {
		old, ok := t.entries[dir]
		if ok && !old.IsDir() {
			return &ConflictError{Path: dir, Old: old.Entry, New: Entry{Mode: TypeDir | 0o755, Source: e.Source}}
		}
		if ok {
			break
		}
		missing = append(missing, dir)
	}
	for _, dir := range missing {
		t.entries[dir] = node{Entry: Entry{Mode: TypeDir | 0o755, Source: e.Source}, implied: true}
	}
	return nil
}

// Remove takes path, and everything below it, out of the tree.
func (t *Tree) Remove(path string) {
	delete(t.entries, path)
	below := path + "/"
	maps.DeleteFunc(t.entries, func(p string, _ node) bool { return strings.HasPrefix(p, below) })
}

// Merge puts every entry of other into t. On a conflict t is left as it was.
func (t *Tree) Merge(other *Tree) error {
	// Both trees hold the folders above each of their paths, so comparing
	// the paths they share also finds a file where the other has a folder.
	for path, e := range other.All() {
		old, ok := t.entries[path]
		if ok && !compatible(old, other.entries[path]) {
			return &ConflictError{Path: path, Old: old.Entry, New: e}
		}
	}
	for path, n := range other.entries {
		if old, ok := t.entries[path]; !ok || (old.implied && !n.implied) {
			t.entries[path] = n
		}
	}
	return nil
}

// compatible reports whether two trees may hold a and b at one path.
func compatible(a, b node) bool {
	if a.IsDir() && b.IsDir() && (a.implied || b.implied) {
		return true
	}
	return a.Same(b.Entry)
}

// Clone returns a tree that can be changed without changing t.
func (t *Tree) Clone() *Tree { return &Tree{entries: maps.Clone(t.entries)} }

// Filter returns the part of t whose paths keep accepts. Folders it refuses
// come back as plain parents where something below them was kept.
func (t *Tree) Filter(keep func(path string) bool) *Tree {
	out := New()
	for path, e := range t.All() {
		if keep(path) && !t.entries[path].implied {
			out.mustPut(path, e)
		}
	}
	return out
}

// mustPut puts an entry that a valid tree already held.
func (t *Tree) mustPut(path string, e Entry) {
	if err := t.Put(path, e); err != nil {
		panic(err) // unreachable: e satisfied Put in the tree it comes from
	}
}

// parent returns the folder of path, "" at the top.
func parent(path string) string {
	return path[:max(0, strings.LastIndexByte(path, '/'))]
}
