package cpio

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/klauspost/compress/zstd"

	"picolab/initramfs/tree"
)

// maxContent bounds one file of an archive read; the format allows 4 GiB.
const maxContent = 1 << 30

// Read reads one segment as Segment writes it, packed or not, into a tree with
// its contents in memory: to look into an image, and for tests. Times and
// inode numbers are not kept, and bytes after the trailer are not read.
func Read(r io.Reader) (*tree.Tree, error) {
	in := bufio.NewReader(r)
	if head, _ := in.Peek(4); bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) { // RFC 8878, 3.1.1
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(window))
		if err != nil {
			return nil, fmt.Errorf("read cpio: %w", err)
		}
		defer z.Close()
		in = bufio.NewReader(z)
	}
	t := tree.New()
	for d := (&decoder{r: in}); ; {
		path, e, err := d.next()
		if err == io.EOF {
			return t, nil
		}
		if err == nil {
			err = t.Put(path, e)
		}
		if err != nil {
			return nil, fmt.Errorf("read cpio at byte %d: %w", d.n, err)
		}
	}
}

type decoder struct {
	r *bufio.Reader
	n int64
}

// next returns the next file, io.EOF at the trailer.
func (d *decoder) next() (string, tree.Entry, error) {
	f, err := d.header()
	if err != nil {
		return "", tree.Entry{}, err
	}
	name, err := d.bytes(int64(f.nameSize))
	if err != nil {
		return "", tree.Entry{}, err
	}
	path, ok := bytes.CutSuffix(name, []byte{0})
	if !ok {
		return "", tree.Entry{}, errors.New("name without NUL")
	}
	if string(path) == trailer {
		return "", tree.Entry{}, io.EOF
	}
	e, err := d.content(f)
	return string(path), e, err
}

// fields are the numbers of a header that a tree keeps.
type fields struct {
	mode, uid, gid, links, size, major, minor, nameSize uint32
}

func (d *decoder) header() (fields, error) {
	h := make([]byte, headerSize)
	n, err := io.ReadFull(d.r, h)
	d.n += int64(n)
	if err != nil {
		return fields{}, noEOF(err)
	}
	if string(h[:len(magic)]) != magic {
		return fields{}, fmt.Errorf("magic %q", h[:len(magic)])
	}
	var v [13]uint32
	for i := range v {
		at := len(magic) + 8*i
		x, err := strconv.ParseUint(string(h[at:at+8]), 16, 32)
		if err != nil {
			return fields{}, fmt.Errorf("header: %w", err)
		}
		v[i] = uint32(x)
	}
	f := fields{mode: v[1], uid: v[2], gid: v[3], links: v[4], size: v[6], major: v[9], minor: v[10], nameSize: v[11]}
	return f, f.check()
}

func (f fields) check() error {
	switch {
	case f.nameSize < 2 || f.nameSize > tree.MaxPath+1:
		return fmt.Errorf("name of %d bytes", f.nameSize)
	case f.size > maxContent:
		return fmt.Errorf("file of %d bytes", f.size)
	case f.links > 1 && f.mode&tree.TypeMask == tree.TypeRegular:
		return errors.New("hard links are not read")
	}
	return nil
}

func (d *decoder) content(f fields) (tree.Entry, error) {
	data, err := d.bytes(int64(f.size))
	if err != nil {
		return tree.Entry{}, err
	}
	e := tree.Entry{Mode: f.mode, UID: f.uid, GID: f.gid}
	switch e.Type() {
	case tree.TypeRegular:
		e.Blob = tree.Bytes(data)
	case tree.TypeSymlink:
		e.Link = string(data)
	case tree.TypeChar, tree.TypeBlock:
		e.Rdev = tree.Dev(f.major, f.minor)
	}
	return e, nil
}

// bytes reads n bytes and the padding after them. Memory grows with what is
// there, not with what a header claims.
func (d *decoder) bytes(n int64) ([]byte, error) {
	var buf bytes.Buffer
	read, err := io.CopyN(&buf, d.r, n)
	d.n += read
	if err != nil {
		return nil, noEOF(err)
	}
	skipped, err := d.r.Discard(int(-d.n & (align - 1)))
	d.n += int64(skipped)
	return buf.Bytes(), noEOF(err)
}

// noEOF turns an end inside a record into the error it is.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
