package deb

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"picolab/initramfs/tree"
)

// unpacker turns the entries of one data.tar into a tree.
type unpacker struct {
	ctx     context.Context
	name    string
	blobs   *Blobs
	opt     Options
	limits  Limits
	tree    *tree.Tree
	seen    map[string]bool // paths met so far; folders false, as they may repeat
	bytes   int64           // sum of file sizes
	entries int
	setuid  []string
	docs    string // folder of the package's documentation
	rights  string // path of its copyright file, once met
}

func newUnpacker(ctx context.Context, name, pkg string, blobs *Blobs, opt Options, limits Limits) *unpacker {
	return &unpacker{
		ctx: ctx, name: name, blobs: blobs, opt: opt, limits: limits,
		tree: tree.New(), seen: map[string]bool{}, docs: docs + pkg,
	}
}

// data reads the whole member, past the end of the archive to the end of the
// compressed stream: only there its checksum is compared.
func (u *unpacker) data(m member) error {
	r, done, err := m.stream(u.limits.data(m.Size()))
	if err != nil {
		return err
	}
	defer done()
	ahead := readAhead(r)
	defer ahead.Close()
	tr := tar.NewReader(ahead)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, ahead)
			return err
		}
		if err != nil {
			return err
		}
		if err := u.entry(h, tr); err != nil {
			return fmt.Errorf("%.200q: %w", h.Name, err)
		}
	}
}

// entry checks one header and keeps what it describes.
func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	if err := u.count(h); err != nil {
		return err
	}
	path, err := u.path(h.Name, h.Typeflag)
	if err != nil || path == "" {
		return err
	}
	isDir := h.Typeflag == tar.TypeDir
	if file, ok := u.seen[path]; ok && (file || !isDir) {
		return errors.New("twice in the package")
	}
	u.seen[path] = !isDir
	u.noteCopyright(path, h)
	if u.opt.Keep != nil && !u.opt.Keep(path) {
		return nil
	}
	e, err := u.describe(h, content)
	if err != nil {
		return err
	}
	return u.put(path, e, h)
}

// count holds the package to its limits before anything of h is read.
func (u *unpacker) count(h *tar.Header) error {
	if err := u.ctx.Err(); err != nil {
		return err
	}
	u.entries++
	if u.entries > u.limits.Entries {
		return fmt.Errorf("more than %d entries", u.limits.Entries)
	}
	if h.Size < 0 || h.Size > u.limits.Bytes-u.bytes {
		return fmt.Errorf("files of more than the %d bytes allowed", u.limits.Bytes)
	}
	u.bytes += h.Size
	return nil
}

// path turns a name of the archive ("./usr/bin/x", "./usr/") into one of the
// tree; the root folder comes back as "". Only these two decorations are
// taken off: anything else that is not clean is refused by the tree.
func (u *unpacker) path(name string, kind byte) (string, error) {
	path := strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/")
	if path == "" || path == "." {
		if name == "/" || name == "" {
			return "", errors.New("no name, or absolute")
		}
		return "", nil
	}
	if err := tree.CheckPath(path); err != nil {
		return "", err
	}
	isTopLink := kind == tar.TypeSymlink && !strings.Contains(path, "/")
	if u.opt.UsrMerge && !isTopLink { // base-files brings the links themselves
		path = merged(path)
	}
	return path, nil
}

// merged returns where path is on a system whose top folders bin, sbin and lib
// are links into usr (usrmerge, Debian 12 and later).
func merged(path string) string {
	switch top, _, _ := strings.Cut(path, "/"); top {
	case "bin", "sbin", "lib", "lib32", "lib64", "libx32":
		return "usr/" + path
	}
	return path
}

// describe turns a header into an entry and stores its content.
func (u *unpacker) describe(h *tar.Header, content io.Reader) (tree.Entry, error) {
	if isSparse(h) {
		return tree.Entry{}, errors.New("sparse files are not taken")
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return tree.Dir(uint32(h.Mode)), nil
	case tar.TypeSymlink:
		return tree.Symlink(h.Linkname), nil
	case tar.TypeLink:
		return u.hardLink(h.Linkname)
	case tar.TypeReg:
		blob, err := u.blobs.Put(content)
		if err != nil {
			return tree.Entry{}, err
		}
		return tree.Regular(uint32(h.Mode), blob), nil
	}
	return tree.Entry{}, fmt.Errorf("type %q is neither file, folder nor link", h.Typeflag)
}

// hardLink returns the entry of the file that a hard link names: one of this
// package, met before.
func (u *unpacker) hardLink(target string) (tree.Entry, error) {
	path, err := u.path(target, tar.TypeReg)
	if err != nil {
		return tree.Entry{}, fmt.Errorf("hard link: %w", err)
	}
	e, ok := u.tree.Get(path)
	if !ok || !e.IsRegular() {
		return tree.Entry{}, fmt.Errorf("hard link to %.200q, which is no file met before", target)
	}
	return e, nil
}

func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

func (u *unpacker) put(path string, e tree.Entry, h *tar.Header) error {
	if h.Uid != int(uint32(h.Uid)) || h.Gid != int(uint32(h.Gid)) {
		return fmt.Errorf("owner %d:%d is out of range", h.Uid, h.Gid)
	}
	e.UID, e.GID, e.Source = uint32(h.Uid), uint32(h.Gid), u.name
	if e.IsRegular() && e.Mode&0o6000 != 0 {
		u.setuid = append(u.setuid, path)
	}
	return u.tree.Put(path, e)
}

// docs is where packages keep their copyright files (Debian Policy 12.5).
const docs = "usr/share/doc/"

// noteCopyright remembers where the package's copyright file is, whether Keep
// wants it or not. The folder may be a link to that of another package of the
// same source (Policy 12.3).
func (u *unpacker) noteCopyright(path string, h *tar.Header) {
	switch {
	case path == u.docs+"/copyright":
		u.rights = path
	case path == u.docs && h.Typeflag == tar.TypeSymlink && !strings.Contains(h.Linkname, "/"):
		u.rights = docs + h.Linkname + "/copyright"
	}
}
