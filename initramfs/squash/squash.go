// Package squash turns a tree into a read-only file system in one file: squashfs 4.0, which Linux mounts.
//
// It is made by mksquashfs of squashfs-tools, from an unpacked root filesystem that has it, run with that root's own
// libraries: the machine needs nothing. Owners, modes and names come from the tree through a tar stream, so the user,
// umask and file order of the machine do not show; all times are the epoch's. Device nodes are taken, extended attributes
// there are none. The same tree, epoch and tool give the same bytes, whatever the number of CPUs
// (squashfs-tools 4.4 and later, README "Reproducible builds").
package squash

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"picolab/initramfs/tree"
)

// Where the tool is, below the root filesystem that has it.
const (
	tool      = "usr/bin/mksquashfs"
	linker    = "usr/lib64/ld-linux-x86-64.so.2"
	libraries = "usr/lib/x86_64-linux-gnu"
)

// Settings are the arguments that decide how the file looks: blocks of 128 KiB, which a read takes whole, packed with
// zstd. Higher levels save few per cent and take many times as long.
const Settings = "-comp zstd -Xcompression-level 6 -b 128K"

// ToolError says that a root filesystem lacks mksquashfs.
type ToolError struct{ Root, File string }

func (e *ToolError) Error() string {
	return fmt.Sprintf("%s has no %s: an image with a root file system of its own needs the package squashfs-tools; add it to the recipe's packages", e.Root, e.File)
}

// Options says from what and where to.
type Options struct {
	Tools  string // root filesystem that has mksquashfs
	Output string // file, must not be there
	Epoch  int64  // time of everything, seconds since 1970
}

// Write makes the file. The error is a *ToolError when the tool is missing; on an error nothing is left of the file.
func Write(ctx context.Context, t *tree.Tree, o Options) error {
	if err := check(o.Tools); err != nil {
		return err
	}
	if err := run(ctx, t, o); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", o.Output, err), remove(o.Output))
	}
	return nil
}

func check(root string) error {
	for _, name := range []string{tool, linker, libraries} {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			return &ToolError{root, name}
		}
	}
	return nil
}

func remove(name string) error {
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// run feeds the tool. What it says is told when it fails.
func run(ctx context.Context, t *tree.Tree, o Options) error {
	cmd, err := command(ctx, o)
	if err != nil {
		return err
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	fed := feed(ctx, in, t, o.Epoch)
	if err := cmd.Wait(); err != nil {
		return errors.Join(ctx.Err(), fmt.Errorf("mksquashfs: %w: %s", err, strings.TrimSpace(said.String())), fed)
	}
	return fed
}

// command is the tool with its arguments, in the folder of its output.
func command(ctx context.Context, o Options) (*exec.Cmd, error) {
	root, err := filepath.Abs(o.Tools)
	if err != nil {
		return nil, err
	}
	output, err := filepath.Abs(o.Output)
	if err != nil {
		return nil, err
	}
	args := []string{"--library-path", filepath.Join(root, libraries), filepath.Join(root, tool), "-", output,
		"-tar", "-noappend", "-no-progress", "-quiet", "-no-xattrs", "-root-mode", "0755", "-root-uid", "0", "-root-gid", "0"}
	args = append(args, strings.Fields(Settings)...)
	for _, option := range []string{"-root-time", "-mkfs-time", "-all-time"} {
		args = append(args, option, fmt.Sprint(o.Epoch))
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, linker), args...)
	cmd.Dir, cmd.Env = filepath.Dir(output), []string{"LC_ALL=C", "TZ=UTC"} // SOURCE_DATE_EPOCH beside the options for times is an error
	return cmd, nil
}

// feed writes the tree as a tar stream and closes w.
func feed(ctx context.Context, w io.WriteCloser, t *tree.Tree, epoch int64) error {
	buffered := bufio.NewWriterSize(w, 1<<20)
	err := Tar(ctx, buffered, t, epoch)
	return errors.Join(err, buffered.Flush(), w.Close())
}

// Tar writes the tree as a POSIX.1-2001 tar stream in the order of paths, everything with the epoch as its time.
func Tar(ctx context.Context, w io.Writer, t *tree.Tree, epoch int64) error {
	out := tar.NewWriter(w)
	buf := make([]byte, 1<<20)
	for path, e := range t.All() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := out.WriteHeader(header(path, e, epoch)); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := content(out, e, buf); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return out.Close()
}

// kinds are the tar types of the tree's.
var kinds = map[uint32]byte{
	tree.TypeDir: tar.TypeDir, tree.TypeRegular: tar.TypeReg, tree.TypeSymlink: tar.TypeSymlink,
	tree.TypeChar: tar.TypeChar, tree.TypeBlock: tar.TypeBlock, tree.TypeFIFO: tar.TypeFifo,
}

func header(path string, e tree.Entry, epoch int64) *tar.Header {
	h := &tar.Header{
		Typeflag: kinds[e.Type()], Name: path, Linkname: e.Link, Mode: int64(e.Mode & tree.PermMask),
		Uid: int(e.UID), Gid: int(e.GID), ModTime: time.Unix(epoch, 0), Format: tar.FormatPAX,
	}
	if e.IsDir() {
		h.Name += "/"
	}
	if e.Blob != nil {
		h.Size = e.Size()
	}
	h.Devmajor, h.Devminor = int64(e.Major()), int64(e.Minor())
	return h
}

func content(out io.Writer, e tree.Entry, buf []byte) error {
	if e.Blob == nil {
		return nil
	}
	in, err := e.Blob.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, buf)
	return err
}
