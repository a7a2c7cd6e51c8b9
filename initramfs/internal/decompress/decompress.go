// Package decompress opens the compressed streams of Debian packages and
// kernel modules: xz, zstd, gzip or none, chosen by file suffix.
//
// Memory is bounded whatever the stream says of itself: a dictionary or window
// over MaxWindow is refused before it is allocated. How much comes out is the
// caller's to bound; Limit does it.
package decompress

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// MaxWindow is the largest history a stream may ask for, in bytes: what
// `xz -9` uses and `zstd --long` (27 bits) does not reach.
const MaxWindow = 64 << 20

// inputBuffer is the size of reads from the compressed file. The xz decoder
// reads in 8 KiB pieces of its own.
const inputBuffer = 1 << 20

// Open returns a reader of what r holds compressed. suffix is that of the
// file's name: ".xz", ".zst", ".gz", or "" for plain bytes.
func Open(suffix string, r io.Reader) (io.ReadCloser, error) {
	in := bufio.NewReaderSize(r, inputBuffer)
	switch suffix {
	case "":
		return io.NopCloser(in), nil
	case ".xz":
		return openXZ(in)
	case ".zst":
		return openZstd(in)
	case ".gz":
		return openGzip(in)
	}
	return nil, fmt.Errorf("compression %q is not known", suffix)
}

func openXZ(r io.Reader) (io.ReadCloser, error) {
	z, err := xz.NewReader(r, MaxWindow)
	if err != nil {
		return nil, fmt.Errorf("open xz stream: %w", err)
	}
	return io.NopCloser(z), nil
}

func openZstd(r io.Reader) (io.ReadCloser, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(MaxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("open zstd stream: %w", err)
	}
	return z.IOReadCloser(), nil
}

func openGzip(r io.Reader) (io.ReadCloser, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("open gzip stream: %w", err)
	}
	return z, nil
}

// LimitError says that a stream holds more than it may.
type LimitError struct{ Max int64 }

// Error names the bound.
func (e *LimitError) Error() string {
	return fmt.Sprintf("unpacks to more than the %d bytes allowed", e.Max)
}

// Limit returns a reader of r that fails with a *LimitError as soon as r
// yields more than max bytes; a stream of max bytes exactly is read whole.
func Limit(r io.Reader, max int64) io.Reader { return &limited{r: r, left: max, max: max} }

type limited struct {
	r         io.Reader
	left, max int64
}

func (l *limited) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if int64(n) > l.left {
		n = int(l.left)
		err = &LimitError{l.max}
	}
	l.left -= int64(n)
	return n, err
}
