package assemble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"picolab/images/manifest"
	"picolab/initramfs/cpio"
	"picolab/initramfs/tree"
)

// DifferenceError says that two builds of one image differ, and where first.
type DifferenceError struct {
	File  string // of the image
	Path  string // inside it, "" when it is not an archive
	What  string // the difference: first build, then second
	Count int    // differing paths in that file
}

func (e *DifferenceError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("%s differs: %s", e.File, e.What)
	}
	return fmt.Sprintf("%s differs, first at %s: %s (%d paths in all)", e.File, e.Path, e.What, e.Count)
}

// Compare compares the images in two directories byte for byte as they are on disk, the unpacked root filesystems too.
// The error is a *DifferenceError for the first difference in boot order, or says that an image cannot be read.
func Compare(ctx context.Context, a, b string) error {
	ma, err := manifest.Read(a)
	if err != nil {
		return err
	}
	mb, err := manifest.Read(b)
	if err != nil {
		return err
	}
	if err := compareFiles(ctx, ma, mb); err != nil {
		return err
	}
	if err := compareRoots(ctx, ma, mb); err != nil {
		return err
	}
	if da, db := ma.Encode(), mb.Encode(); !bytes.Equal(da, db) {
		da = bytes.ReplaceAll(da, []byte(ma.ID), []byte(mb.ID)) // the IDs differ because something else does
		return &DifferenceError{File: manifest.Name, What: firstLine(da, db)}
	}
	return nil
}

func compareFiles(ctx context.Context, a, b *manifest.Manifest) error {
	others := make(map[string]bool)
	for _, f := range b.Files {
		others[f.Name] = true
	}
	for _, f := range a.Files {
		if !others[f.Name] {
			return &DifferenceError{File: f.Name, What: "only in the first"}
		}
		delete(others, f.Name)
		if f.Role == manifest.RoleRoot { // what differs in it differs in the unpacked one too, mostly, and has a name there
			if err := compareRoots(ctx, a, b); err != nil {
				return err
			}
		}
		if err := compareFile(ctx, f, filepath.Join(a.Dir(), f.Name), filepath.Join(b.Dir(), f.Name)); err != nil {
			return err
		}
	}
	for _, f := range b.Files {
		if others[f.Name] {
			return &DifferenceError{File: f.Name, What: "only in the second"}
		}
	}
	return nil
}

func compareFile(ctx context.Context, f manifest.File, a, b string) error {
	_, sumA, err := manifest.HashFile(ctx, a)
	if err != nil {
		return err
	}
	_, sumB, err := manifest.HashFile(ctx, b)
	if err != nil {
		return err
	}
	if sumA == sumB {
		return nil
	}
	return explain(f, a, b)
}

// explain finds the first difference in two files of one role.
func explain(f manifest.File, a, b string) error {
	if f.Role == manifest.RoleSegment {
		return explainSegment(f.Name, a, b)
	}
	da, err := os.ReadFile(a)
	if err != nil {
		return err
	}
	db, err := os.ReadFile(b)
	if err != nil {
		return err
	}
	if f.Role == manifest.RoleSBOM {
		return &DifferenceError{File: f.Name, What: firstLine(da, db)}
	}
	return &DifferenceError{File: f.Name, What: firstByte(da, db)}
}

func explainSegment(name, a, b string) error {
	da, ta, err := readSegment(a)
	if err != nil {
		return err
	}
	db, tb, err := readSegment(b)
	if err != nil {
		return err
	}
	if diff := tree.Diff(ta, tb); len(diff) > 0 {
		return &DifferenceError{name, diff[0].Path, diff[0].What, len(diff)}
	}
	if !bytes.Equal(da, db) {
		return &DifferenceError{File: name, What: "the same files, but their times or numbers differ: archive " + firstByte(da, db)}
	}
	return &DifferenceError{File: name, What: "the same archive, compressed to different bytes"}
}

// readSegment returns a segment's archive as bytes and as a tree.
func readSegment(path string) ([]byte, *tree.Tree, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".zst") {
		// Fewer NULs than a frame's magic number has bytes may pad it: with four more, the end is always the same error.
		z, err := zstd.NewReader(io.MultiReader(f, bytes.NewReader(make([]byte, 4))))
		if err != nil {
			return nil, nil, fmt.Errorf("read %s: %w", path, err)
		}
		defer z.Close()
		r = z
	}
	data, err := io.ReadAll(r)
	if padded := errors.Is(err, zstd.ErrMagicMismatch) && len(data) > 0; err != nil && !padded { // NULs follow the frame
		return nil, nil, fmt.Errorf("read %s: %w", path, err)
	}
	t, err := cpio.Read(bytes.NewReader(data))
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, t, nil
}

// compareRoots compares the unpacked root filesystems as they are on disk.
func compareRoots(ctx context.Context, a, b *manifest.Manifest) error {
	if a.RootFS == nil || b.RootFS == nil {
		return nil // the manifests differ then, or there is none
	}
	ta, err := readRoot(ctx, a.Root())
	if err != nil {
		return err
	}
	tb, err := readRoot(ctx, b.Root())
	if err != nil {
		return err
	}
	if diff := tree.Diff(ta, tb); len(diff) > 0 {
		return &DifferenceError{a.RootFS.Name, diff[0].Path, diff[0].What, len(diff)}
	}
	if got := fmt.Sprintf("%x", ta.Digest()); got != b.RootFS.SHA256 {
		return &manifest.MismatchError{Path: a.Root(), Got: "tree digest " + got, Expected: b.RootFS.SHA256}
	}
	return nil
}

func firstLine(a, b []byte) string {
	la, lb := bytes.Split(a, []byte("\n")), bytes.Split(b, []byte("\n"))
	for i := range min(len(la), len(lb)) {
		if !bytes.Equal(la[i], lb[i]) {
			return fmt.Sprintf("line %d: %s, %s", i+1, bytes.TrimSpace(la[i]), bytes.TrimSpace(lb[i]))
		}
	}
	return fmt.Sprintf("%d lines, %d lines", len(la), len(lb))
}

func firstByte(a, b []byte) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("byte %d: %#02x, %#02x", i, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d bytes, %d bytes", len(a), len(b))
}
