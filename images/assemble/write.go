package assemble

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"picolab/images/manifest"
	"picolab/initramfs"
	"picolab/initramfs/cpio"
	"picolab/initramfs/tree"
	"picolab/recipes"
)

// segments are the parts of the boot archive in boot order. What changes often is packed fast, what is built once well.
var segments = []struct {
	name string
	pack cpio.Compression
	of   func(*initramfs.Layers) *tree.Tree
}{
	{"base.cpio.zst", cpio.ZstdDefault, func(l *initramfs.Layers) *tree.Tree { return l.Base }},
	{"modules.cpio.zst", cpio.ZstdBest, func(l *initramfs.Layers) *tree.Tree { return l.Modules }},
	{"payload.cpio.zst", cpio.ZstdDefault, func(l *initramfs.Layers) *tree.Tree { return l.Payload }},
}

// writer fills the directory of a new image.
type writer struct {
	Options
	layers *initramfs.Layers
	old    *stamp // of the image there is, its unchanged files are reused
	stamp  *stamp
	dir    string
	files  []manifest.File
	rootFS *manifest.RootFS
}

// write makes the whole image in dir.
func (w *writer) write(ctx context.Context, dir string) error {
	w.dir = dir
	for _, step := range []func(context.Context) error{w.kernel, w.segments, w.limitBoot, w.sbom, w.unpackRoot, w.rootFile, w.limitImage, w.manifest} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) kernel(ctx context.Context) error {
	if w.layers.Kernel == nil {
		return nil
	}
	sum := w.layers.Kernel.SHA256()
	return w.file(ctx, kernelFile, manifest.RoleKernel, "kernel "+hex.EncodeToString(sum[:]), func(out io.Writer) error {
		in, err := w.layers.Kernel.Open()
		if err != nil {
			return err
		}
		defer in.Close()
		_, err = io.Copy(out, in)
		return err
	})
}

func (w *writer) segments(ctx context.Context) error {
	for _, s := range segments {
		t := s.of(w.layers)
		key := fmt.Sprintf("segment %x %d %d", t.Digest(), w.Lock.Epoch, s.pack)
		err := w.file(ctx, s.name, manifest.RoleSegment, key, func(out io.Writer) error {
			return cpio.Segment(out, t, w.Lock.Epoch, s.pack)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// file writes one file of the image, or links the old image's when it was made from the same, which key names.
func (w *writer) file(ctx context.Context, name, role, key string, content func(io.Writer) error) error {
	path := filepath.Join(w.dir, name)
	if w.old.has(w.Output, name, key) && os.Link(filepath.Join(w.Output, name), path) == nil {
		w.files = append(w.files, w.old.Files[name].file(name, role))
		return w.stamp.add(w.dir, w.files[len(w.files)-1], key)
	}
	if err := create(path, content); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Join(w.Output, name), err)
	}
	return w.add(ctx, name, role, key)
}

// linked takes a file that is elsewhere already into the image, as a link where that is possible: nobody writes to it.
func (w *writer) linked(ctx context.Context, name, role, key, from string) error {
	path := filepath.Join(w.dir, name)
	if err := os.Link(from, path); err != nil {
		in, err := os.Open(from)
		if err != nil {
			return err
		}
		defer in.Close()
		if err := create(path, func(out io.Writer) error { _, err := io.Copy(out, in); return err }); err != nil {
			return fmt.Errorf("write %s: %w", filepath.Join(w.Output, name), err)
		}
	}
	return w.add(ctx, name, role, key)
}

// add lists a file that is in place.
func (w *writer) add(ctx context.Context, name, role, key string) error {
	size, sum, err := manifest.HashFile(ctx, filepath.Join(w.dir, name))
	if err != nil {
		return err
	}
	w.files = append(w.files, manifest.File{Name: name, Role: role, Size: size, SHA256: sum})
	return w.stamp.add(w.dir, w.files[len(w.files)-1], key)
}

// create writes a new file with mode 0644 whatever the umask, to the disk: what a manifest promises survives a crash.
func create(path string, content func(io.Writer) error) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := bufio.NewWriterSize(f, 1<<20)
	if err := content(buf); err != nil {
		return err
	}
	return errors.Join(buf.Flush(), f.Chmod(0o644), f.Sync())
}

// unpackRoot writes the root filesystem, if there is one.
func (w *writer) unpackRoot(ctx context.Context) (err error) {
	t := w.layers.Root
	if t == nil {
		return nil
	}
	if err := w.limitRoot(t); err != nil {
		return err
	}
	w.rootFS, err = w.writeRoot(ctx, t)
	return err
}

// manifest comes last: it names everything else.
func (w *writer) manifest(context.Context) error {
	data := w.describe().Encode()
	if err := create(filepath.Join(w.dir, manifest.Name), writes(data)); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Join(w.Output, manifest.Name), err)
	}
	return w.stamp.write(w.dir, data)
}

// writes returns a content function for bytes at hand.
func writes(data []byte) func(io.Writer) error {
	return func(out io.Writer) error { _, err := out.Write(data); return err }
}

func (w *writer) describe() *manifest.Manifest {
	return &manifest.Manifest{
		Name:          w.Recipe.Name,
		Kind:          w.Recipe.Kind,
		Version:       w.layers.Busybox.SHA256[:12],
		Lock:          w.Lock.Digest(),
		Recipe:        w.Recipe.ResolutionDigest(),
		Architecture:  w.Recipe.Architecture,
		KernelRelease: w.layers.KernelRelease,
		CommandLine:   append([]string{}, w.Recipe.Kernel.CommandLine...),
		Menu:          menu(w.Recipe),
		Epoch:         w.Lock.Epoch,
		Files:         w.files,
		RootFS:        w.rootFS,
	}
}

func menu(r *recipes.Recipe) []manifest.Choice {
	var choices []manifest.Choice
	for _, m := range r.Menu {
		choices = append(choices, manifest.Choice{Title: m.Title, CommandLine: m.CommandLine})
	}
	return choices
}
