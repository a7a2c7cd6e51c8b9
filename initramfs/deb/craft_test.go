package deb

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"picolab/initramfs/tree"
)

const control = "Package: crafted\nVersion: 1\nArchitecture: amd64\n"

// file, link and the like are headers of crafted archives.
func file(name, content string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}, content}
}

func typed(kind byte, name, link string) entry {
	return entry{tar.Header{Typeflag: kind, Name: name, Linkname: link, Mode: 0o755}, ""}
}

type entry struct {
	tar.Header
	content string
}

// archive makes a tar; it pays no attention to what Go's writer would refuse.
func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatalf("%q: %v", e.Name, err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// patched returns a header block of a tar changed by f, its checksum mended.
func patched(data []byte, f func(block []byte)) []byte {
	out := bytes.Clone(data)
	block := out[:512]
	f(block)
	copy(block[148:156], "        ")
	sum := 0
	for _, c := range block {
		sum += int(c)
	}
	copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return out
}

func packXZ(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	return packed(t, &b, w, data)
}

func packZstd(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	return packed(t, &b, w, data)
}

func packGzip(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	return packed(t, &b, gzip.NewWriter(&b), data)
}

func packed(t testing.TB, b *bytes.Buffer, w io.WriteCloser, data []byte) []byte {
	t.Helper()
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// hugeDictionary rewrites the first block header of an xz file to ask for a
// dictionary of 4 GiB - 1 (xz file format 1.2.0, sections 3.1 and 5.3.1).
func hugeDictionary(data []byte) []byte {
	out := bytes.Clone(data)
	h := out[12:]
	size := (int(h[0]) + 1) * 4
	at := bytes.Index(h[:size], []byte{0x21, 0x01})
	h[at+2] = 40
	binary.LittleEndian.PutUint32(h[size-4:], crc32.ChecksumIEEE(h[:size-4]))
	return out
}

// part is a member of a crafted container.
type part struct {
	name string
	data []byte
}

func container(parts ...part) []byte {
	b := []byte(arMagic)
	for _, p := range parts {
		b = fmt.Appendf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", p.name, 0, 0, 0, "100644", len(p.data))
		b = append(b, p.data...)
		if len(p.data)%2 == 1 {
			b = append(b, '\n')
		}
	}
	return b
}

// pkg makes a package of the data.tar given.
func pkg(t testing.TB, name string, data []byte) []byte {
	t.Helper()
	return container(
		part{"debian-binary", []byte("2.0\n")},
		part{"control.tar", archive(t, file("./control", control))},
		part{name, data},
	)
}

// of makes a package of entries, uncompressed.
func of(t testing.TB, entries ...entry) []byte { return pkg(t, "data.tar", archive(t, entries...)) }

func store(t testing.TB) *Blobs {
	t.Helper()
	b, err := OpenBlobs(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unpackBytes(t testing.TB, data []byte, blobs *Blobs, opt Options) (*tree.Tree, Control, error) {
	t.Helper()
	into := tree.New()
	c, err := Unpack(context.Background(), bytes.NewReader(data), int64(len(data)), "crafted.deb", into, blobs, opt)
	return into, c, err
}
