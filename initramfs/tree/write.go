package tree

import "context"

// WriteOptions adjusts WriteDir.
type WriteOptions struct {
	// Progress, when set, is called after each entry with the number of
	// content bytes written so far.
	Progress func(entries int, bytes int64)
}

// WriteDir makes the files of t in dir, which must be an empty folder or not
// exist. It needs no privilege: owners are the caller's, device nodes and
// setuid, setgid bits are left out, everything else gets exactly its mode
// whatever the umask. No link is ever followed. On an error dir is left half
// written: write to a temporary name and rename.
func (t *Tree) WriteDir(ctx context.Context, dir string, opt WriteOptions) error {
	panic("TODO")
}
