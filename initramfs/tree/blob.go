package tree

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
)

// Blob is the content of a regular file: immutable, of known size and digest.
// Open may be called many times and from several goroutines.
type Blob interface {
	Open() (io.ReadCloser, error)
	Size() int64
	SHA256() [sha256.Size]byte
}

type memory struct {
	data []byte
	sum  [sha256.Size]byte
}

// Bytes returns a Blob that holds data, which must not change any more.
func Bytes(data []byte) Blob { return &memory{data, sha256.Sum256(data)} }

func (m *memory) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m.data)), nil }
func (m *memory) Size() int64                  { return int64(len(m.data)) }
func (m *memory) SHA256() [sha256.Size]byte    { return m.sum }

type file struct {
	path string
	size int64
	sum  [sha256.Size]byte
}

// File returns a Blob backed by the file at path, known to have size bytes and
// digest sum. Reading checks both: a file changed since fails at its last byte
// instead of ending up in an image.
func File(path string, size int64, sum [sha256.Size]byte) Blob { return &file{path, size, sum} }

// OpenFile returns a Blob backed by the file at path as it is now; it reads
// the file once to know the digest.
func OpenFile(path string) (Blob, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	size, err := io.Copy(h, f)
	if err != nil {
		return nil, fmt.Errorf("hash blob %s: %w", path, err)
	}
	return File(path, size, [sha256.Size]byte(h.Sum(nil))), nil
}

func (b *file) Size() int64               { return b.size }
func (b *file) SHA256() [sha256.Size]byte { return b.sum }

func (b *file) Open() (io.ReadCloser, error) {
	f, err := os.Open(b.path)
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	return &checked{f: f, blob: b, hash: sha256.New()}, nil
}

// checked reads a file and compares it with what its Blob promised.
type checked struct {
	f    *os.File
	blob *file
	hash hash.Hash
	n    int64
}

func (c *checked) Close() error { return c.f.Close() }

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.f.Read(p)
	c.hash.Write(p[:n])
	c.n += int64(n)
	if c.n > c.blob.size || (err == io.EOF && !c.intact()) {
		return 0, fmt.Errorf("read blob %s: content is not the %d bytes of sha256 %x", c.blob.path, c.blob.size, c.blob.sum)
	}
	return n, err
}

func (c *checked) intact() bool {
	return c.n == c.blob.size && [sha256.Size]byte(c.hash.Sum(nil)) == c.blob.sum
}

// ReadAll returns the whole content of b.
func ReadAll(b Blob) ([]byte, error) {
	r, err := b.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data := bytes.NewBuffer(make([]byte, 0, b.Size()+bytes.MinRead))
	if _, err := data.ReadFrom(r); err != nil {
		return nil, err
	}
	return data.Bytes(), nil
}
