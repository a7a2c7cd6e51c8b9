package disk

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// qemuImg is of the package qemu-utils, below the root.
const qemuImg = "usr/bin/qemu-img"

// compress writes disk to out as a qcow2 with compressed clusters. The root's qemu-img does it, with the root's own
// libraries; it gets both files by descriptor, for neither has a name. One task and writes in order: the same bytes every
// time.
func compress(ctx context.Context, root string, out, disk *os.File) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(root, qemuImg)); err != nil {
		return &LoaderError{root, qemuImg}
	}
	lib := filepath.Join(root, libraries)
	cmd := exec.CommandContext(ctx, filepath.Join(root, linker), "--library-path", lib, filepath.Join(root, qemuImg),
		"convert", "-c", "-m", "1", "-f", "raw", "-O", "qcow2", "/proc/self/fd/3", "/proc/self/fd/4")
	cmd.Env = []string{"LC_ALL=C", "QEMU_MODULE_DIR=" + filepath.Join(lib, "qemu")}
	cmd.ExtraFiles = []*os.File{disk, out}
	if text, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("qemu-img: %w: %s", err, bytes.TrimSpace(text))
	}
	return nil
}
