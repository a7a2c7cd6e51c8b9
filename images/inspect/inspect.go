// Package inspect looks into images: a folder that labimage built, or a disk made of one, raw or qcow2. It reads and
// checks, and says what is there: partitions, kernel, packages, modules, sizes by layer. Nothing is mounted and nothing
// is written.
//
// Of disks it reads what images/disk and firmware use: GPT and MBR partition tables, FAT32, qcow2 of version 2 and 3
// without encryption and backing files. Everything in a file is taken for hostile: sizes are bounded before use.
//
// Sources: UEFI 2.10 section 5, Microsoft's FAT specification 1.03, QEMU's docs/interop/qcow2.rst.
package inspect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"picolab/images/manifest"
	"picolab/initramfs/cpio"
	"picolab/initramfs/tree"
)

// Report says what an image holds.
type Report struct {
	Path     string             `json:"path"`
	Image    *manifest.Manifest `json:"image,omitempty"` // nil for a disk that is no picolab image
	Disk     *Disk              `json:"disk,omitempty"`
	Layers   []Layer            `json:"layers"`
	Packages []Package          `json:"packages"` // Debian's, then Go's, each by name
	Modules  []Module           `json:"modules"`  // of the kernel, by name

	trees map[string]*tree.Tree // by layer
	root  string                // folder of the unpacked root filesystem
}

// Layer is a part of the image.
type Layer struct {
	Name     string `json:"name"`
	Role     string `json:"role"`
	Size     int64  `json:"size"`     // bytes as stored
	Unpacked int64  `json:"unpacked"` // bytes of the regular files in it; Size for what is not an archive
	Entries  int    `json:"entries,omitempty"`
}

// Module is a kernel module.
type Module struct {
	Name string `json:"name"`
	Path string `json:"path"` // below the folder of the release
	Size int64  `json:"size"` // bytes
}

// opener reads the files of an image by their base names.
type opener func(name string) (io.ReadCloser, error)

// Open looks into the image at path.
func Open(ctx context.Context, path string) (*Report, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
		return openFolder(ctx, path)
	}
	if err != nil {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	r, err := openDisk(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("inspect %s: %w", path, err)
	}
	return r, nil
}

func openFolder(ctx context.Context, dir string) (*Report, error) {
	m, err := manifest.Read(dir)
	if err != nil {
		return nil, err
	}
	if err := m.Verify(ctx); err != nil {
		return nil, err
	}
	r := &Report{Path: dir, Image: m, root: m.Root()}
	open := func(name string) (io.ReadCloser, error) { return os.Open(filepath.Join(dir, name)) }
	if err := r.readFiles(ctx, open); err != nil {
		return nil, fmt.Errorf("inspect %s: %w", dir, err)
	}
	return r, r.addRoot()
}

// readFiles looks into every file of the manifest. A disk does not have all of them.
func (r *Report) readFiles(ctx context.Context, open opener) error {
	r.trees = map[string]*tree.Tree{}
	for _, f := range r.Image.Files {
		err := r.readFile(ctx, f, open)
		if errors.Is(err, fs.ErrNotExist) && (f.Role == manifest.RoleSBOM || r.Disk == nil) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	r.findModules()
	return nil
}

func (r *Report) readFile(ctx context.Context, f manifest.File, open opener) error {
	in, err := open(f.Name)
	if err != nil {
		return err
	}
	defer in.Close()
	sum := &summed{r: in, ctx: ctx, hash: sha256.New()}
	l := Layer{Name: f.Name, Role: f.Role, Size: f.Size, Unpacked: f.Size}
	switch f.Role {
	case manifest.RoleSegment:
		err = r.readSegment(&l, sum)
	case manifest.RoleSBOM:
		err = r.readSBOM(sum)
	}
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, sum); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.hash.Sum(nil)); got != f.SHA256 || sum.n != f.Size {
		return &manifest.MismatchError{Path: f.Name, Got: fmt.Sprintf("%d bytes, SHA-256 %.12s", sum.n, got), Expected: fmt.Sprintf("%d bytes, %.12s", f.Size, f.SHA256)}
	}
	r.Layers = append(r.Layers, l)
	return nil
}

func (r *Report) readSegment(l *Layer, in io.Reader) error {
	t, err := cpio.Read(in)
	if err != nil {
		return err
	}
	l.Unpacked, l.Entries = sizeOf(t), t.Len()
	r.trees[l.Name] = t
	return nil
}

func sizeOf(t *tree.Tree) (n int64) {
	for _, e := range t.All() {
		if e.IsRegular() {
			n += e.Size()
		}
	}
	return n
}

// findModules lists the modules of all segments.
func (r *Report) findModules() {
	for _, t := range r.trees {
		for p, e := range t.All() {
			if m, ok := moduleAt(p); ok && e.IsRegular() {
				m.Size = e.Size()
				r.Modules = append(r.Modules, m)
			}
		}
	}
	slices.SortFunc(r.Modules, func(a, b Module) int { return compare(a.Name, b.Name, a.Path, b.Path) })
}

// addRoot adds the unpacked root filesystem as a layer.
func (r *Report) addRoot() error {
	if r.root == "" {
		return nil
	}
	l := Layer{Name: r.Image.RootFS.Name, Role: "root", Entries: r.Image.RootFS.Entries}
	err := filepath.WalkDir(r.root, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			l.Size += info.Size()
		}
		return err
	})
	l.Unpacked = l.Size
	r.Layers = append(r.Layers, l)
	return err
}

// Trees returns the files of each layer that is an archive or a folder, by name.
func (r *Report) Trees() (map[string]*tree.Tree, error) {
	if r.root == "" || r.trees[r.Image.RootFS.Name] != nil {
		return r.trees, nil
	}
	t, err := tree.ReadDir(r.root)
	if err == nil {
		r.trees[r.Image.RootFS.Name] = t
	}
	return r.trees, err
}

// summed counts and hashes what is read.
type summed struct {
	r    io.Reader
	ctx  context.Context
	hash interface {
		io.Writer
		Sum([]byte) []byte
	}
	n int64
}

func (s *summed) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p)
	s.hash.Write(p[:n])
	s.n += int64(n)
	return n, err
}
