// Package manifest describes an image on disk: which files it has, what each is for, in which order they boot, and
// the digest of every one. It is the only thing the run half of picolab reads of the build half.
//
// An image is a directory with manifest.json beside the files it names. The format is JSON, version 1; digests are
// SHA-256 as 64 lower-case hex digits, sizes are bytes, the epoch is seconds since 1970 (UTC).
package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Name is the manifest's file name in an image directory.
const Name = "manifest.json"

// Format is the version this package reads and writes.
const Format = 1

// Roles of files.
const (
	RoleKernel  = "kernel"  // bzImage
	RoleSegment = "segment" // a cpio archive, possibly compressed; segments concatenate in the order listed
	RoleSBOM    = "sbom"    // SPDX 2.3 JSON
	RoleRoot    = "root"    // squashfs 4.0: the root file system that the boot segments look for, with the kernel's modules
)

// Kinds of images.
const (
	KindGuest = "guest"
	KindHost  = "host"
)

// File is one file of an image.
type File struct {
	Name   string `json:"name"` // base name in the image directory
	Role   string `json:"role"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// RootFS is the unpacked root filesystem of a host image.
type RootFS struct {
	Name    string `json:"name"`    // directory in the image directory
	SHA256  string `json:"sha256"`  // digest of the tree: modes, links and contents
	Entries int    `json:"entries"` // number of files, directories and links
}

// Choice is a line of the boot menu: its command line is appended to the image's.
type Choice struct {
	Title       string   `json:"title"`
	CommandLine []string `json:"command_line,omitempty"`
}

// Manifest describes an image.
type Manifest struct {
	Format        int      `json:"format"`
	Name          string   `json:"name"` // the recipe's
	Kind          string   `json:"kind"`
	ID            string   `json:"id"`      // SHA-256 of the rest of the manifest; what an agent reports in its Hello
	Version       string   `json:"version"` // of the build: digest of the busybox's sources, 12 hex digits
	Lock          string   `json:"lock"`    // SHA-256 of the lock
	Recipe        string   `json:"recipe"`  // SHA-256 of what the lock binds to in the recipe
	Architecture  string   `json:"architecture"`
	KernelRelease string   `json:"kernel_release"`
	CommandLine   []string `json:"command_line"`
	Menu          []Choice `json:"menu,omitempty"` // of a bootable disk; none is one choice with nothing added
	Epoch         int64    `json:"epoch"`          // mtime of everything inside
	Files         []File   `json:"files"`          // in boot order
	RootFS        *RootFS  `json:"root,omitempty"`

	dir string
}

// Read reads and checks the manifest of the image in dir. It does not read the files; Verify does.
func Read(dir string) (*Manifest, error) {
	data, err := os.ReadFile(filepath.Join(dir, Name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read image %s: no %s; build it with `labimage build RECIPE -o %s`", dir, Name, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("read image %s: %w", dir, err)
	}
	m, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("read image %s: %w", dir, err)
	}
	m.dir = dir
	return m, nil
}

// Parse reads a manifest that is not in a directory; the path methods are relative then.
func Parse(data []byte) (*Manifest, error) {
	m := new(Manifest)
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("parse %s: %w", Name, err)
	}
	if m.Format != Format {
		return nil, fmt.Errorf("parse %s: format %d, this program reads %d", Name, m.Format, Format)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("parse %s: %w", Name, err)
	}
	return m, nil
}

// check refuses names that lead out of the directory, digests that are none, and an ID that does not match.
func (m *Manifest) check() error {
	names := make(map[string]bool, len(m.Files)+1)
	for _, f := range m.Files {
		if !plain(f.Name) || names[f.Name] {
			return fmt.Errorf("file name %q is not plain or not unique", f.Name)
		}
		if !isDigest(f.SHA256) || f.Size < 0 {
			return fmt.Errorf("file %s: bad digest or size", f.Name)
		}
		names[f.Name] = true
	}
	if m.RootFS != nil && (!plain(m.RootFS.Name) || names[m.RootFS.Name] || !isDigest(m.RootFS.SHA256)) {
		return fmt.Errorf("root %q: bad name or digest", m.RootFS.Name)
	}
	if want := m.digest(); m.ID != want {
		return fmt.Errorf("id %.12s does not match the contents (%.12s): the file was edited or is damaged", m.ID, want)
	}
	return nil
}

// Encode returns the canonical bytes of m after setting its ID.
func (m *Manifest) Encode() []byte {
	m.Format = Format
	m.ID = m.digest()
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil { // strings and integers always encode
		panic("encode manifest: " + err.Error())
	}
	return append(data, '\n')
}

// digest is the SHA-256 of the manifest without its ID.
func (m *Manifest) digest() string {
	c := *m
	c.ID = ""
	data, err := json.Marshal(&c)
	if err != nil {
		panic("encode manifest: " + err.Error())
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Dir is the directory the manifest was read from.
func (m *Manifest) Dir() string { return m.dir }

// Kernel is the path of the kernel, "" when the image has none.
func (m *Manifest) Kernel() string {
	if f := m.byRole(RoleKernel); len(f) > 0 {
		return f[0]
	}
	return ""
}

// KernelSHA256 is the digest of the kernel file in hex, "" when there is none.
func (m *Manifest) KernelSHA256() string {
	for _, f := range m.Files {
		if f.Role == RoleKernel {
			return f.SHA256
		}
	}
	return ""
}

// Segments are the paths of the initramfs segments, in boot order.
func (m *Manifest) Segments() []string { return m.byRole(RoleSegment) }

// Root is the path of the unpacked root filesystem, "" for guests.
func (m *Manifest) Root() string {
	if m.RootFS == nil {
		return ""
	}
	return filepath.Join(m.dir, m.RootFS.Name)
}

// RootFile is the path of the root file system that an appliance mounts when it boots, "" when the image has none.
func (m *Manifest) RootFile() string {
	if f := m.byRole(RoleRoot); len(f) > 0 {
		return f[0]
	}
	return ""
}

// BootSize is the number of bytes the kernel and the segments have together.
func (m *Manifest) BootSize() int64 {
	var n int64
	for _, f := range m.Files {
		if f.Role == RoleKernel || f.Role == RoleSegment {
			n += f.Size
		}
	}
	return n
}

func (m *Manifest) byRole(role string) []string {
	var paths []string
	for _, f := range m.Files {
		if f.Role == role {
			paths = append(paths, filepath.Join(m.dir, f.Name))
		}
	}
	return paths
}

// plain says whether name is one path element that cannot leave its directory.
func plain(name string) bool {
	return name != "" && name != "." && name != ".." && name != Name && !strings.ContainsAny(name, "/\x00")
}

func isDigest(s string) bool {
	return len(s) == 64 && !slices.ContainsFunc([]byte(s), func(c byte) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'f')
	})
}
