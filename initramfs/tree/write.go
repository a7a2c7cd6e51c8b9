package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// privileged are the mode bits an unprivileged writer leaves out: setuid and
// setgid would give the caller's identity away instead of root's.
const privileged = 0o6000

// copyBuffer is the size of the writes of file contents.
const copyBuffer = 1 << 20

// WriteOptions adjusts WriteDir.
type WriteOptions struct {
	// Progress, when set, is called after each entry with how many entries
	// and content bytes have been written so far.
	Progress func(entries int, bytes int64)
}

// Unprivileged returns t as WriteDir leaves it on disk: everything owned by
// 0:0 (the caller, seen from a user namespace), no device nodes or fifos, no
// setuid or setgid bits.
func (t *Tree) Unprivileged() *Tree {
	out := New()
	for path, n := range t.entries {
		n.UID, n.GID, n.Mode = 0, 0, n.Mode&^privileged
		if n.IsDir() || n.IsRegular() || n.IsSymlink() {
			out.entries[path] = n
		}
	}
	return out
}

// WriteDir makes the files of t in dir, an empty folder or a new one. It needs
// no privilege: what it makes is t.Unprivileged(), with exactly these modes
// whatever the umask. No symbolic link is followed and nothing is replaced. On
// an error dir is left half written: write to a temporary name and rename.
func (t *Tree) WriteDir(ctx context.Context, dir string, opt WriteOptions) error {
	root, err := openEmpty(dir)
	if err != nil {
		return fmt.Errorf("write tree: %w", err)
	}
	defer root.Close()
	w := &dirWriter{root: root, buf: make([]byte, copyBuffer)}
	for path, e := range t.Unprivileged().All() {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("write tree: %w", err)
		}
		if err := w.write(path, e); err != nil {
			return fmt.Errorf("write tree to %s: %w", dir, err)
		}
		w.entries++
		if opt.Progress != nil {
			opt.Progress(w.entries, w.bytes)
		}
	}
	return w.finish()
}

func openEmpty(dir string) (*os.Root, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(names) > 0 {
		return nil, fmt.Errorf("folder %s is not empty", dir)
	}
	return os.OpenRoot(dir)
}

type dirWriter struct {
	root    *os.Root
	buf     []byte
	dirs    []string // made so far, parents first
	modes   []uint32
	entries int
	bytes   int64
}

func (w *dirWriter) write(path string, e Entry) error {
	switch {
	case e.IsDir():
		w.dirs, w.modes = append(w.dirs, path), append(w.modes, e.Perm())
		return w.root.Mkdir(path, 0o700)
	case e.IsSymlink():
		return w.root.Symlink(e.Link, path)
	}
	return w.file(path, e)
}

func (w *dirWriter) file(path string, e Entry) (err error) {
	in, err := e.Blob.Open()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer in.Close()
	out, err := w.root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	n, err := io.CopyBuffer(onlyWriter{out}, onlyReader{in}, w.buf)
	w.bytes += n
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return out.Chmod(os.FileMode(e.Perm()&0o777) | sticky(e))
}

// finish gives the folders their modes, deepest first: a folder may lose its
// write bit only when everything in it is there.
func (w *dirWriter) finish() error {
	for i, path := range slices.Backward(w.dirs) {
		mode := os.FileMode(w.modes[i]&0o777) | sticky(Entry{Mode: w.modes[i]})
		if err := w.root.Chmod(path, mode); err != nil {
			return fmt.Errorf("write tree: %w", err)
		}
	}
	return nil
}

func sticky(e Entry) os.FileMode {
	if e.Mode&0o1000 != 0 {
		return os.ModeSticky
	}
	return 0
}

// onlyWriter and onlyReader hide the ReadFrom and WriteTo of files, which
// would go around both the buffer and the check of the content.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)
