package assemble

import (
	"context"
	"fmt"
	"path/filepath"

	"picolab/images/manifest"
	"picolab/initramfs/tree"
)

// writeRoot unpacks the root filesystem, as any user: owners and device nodes are left out, see tree.WriteDir.
func (w *writer) writeRoot(ctx context.Context, t *tree.Tree) (*manifest.RootFS, error) {
	t = t.Unprivileged()
	w.progress("writing the root filesystem: %d entries", t.Len())
	dir := filepath.Join(w.dir, rootDir)
	if err := t.WriteDir(ctx, dir, tree.WriteOptions{}); err != nil {
		return nil, fmt.Errorf("root filesystem: %w", err)
	}
	w.stamp.Root = glance(dir)
	return &manifest.RootFS{Name: rootDir, SHA256: fmt.Sprintf("%x", t.Digest()), Entries: t.Len()}, nil
}
