package flash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
)

// Image is a disk image to write.
type Image struct {
	Path   string
	Size   int64
	SHA256 [sha256.Size]byte
	file   *os.File
}

// packed are the first bytes of what is not a disk byte for byte.
var packed = []struct{ magic, what, remedy string }{
	{"QFI\xfb", "qcow2", "make it with --format raw"},
	{"\x1f\x8b", "gzip", "unpack it first"},
	{"\x28\xb5\x2f\xfd", "zstd", "unpack it first"},
	{"\xfd7zXZ", "xz", "unpack it first"},
	{"PK\x03\x04", "zip", "unpack it first"},
}

// OpenImage opens and reads a disk image. It must be whole sectors with a boot signature in the first.
func OpenImage(ctx context.Context, path string) (*Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open image: %w", err)
	}
	img := &Image{Path: path, file: f}
	if err := img.read(ctx); err != nil {
		f.Close()
		return nil, fmt.Errorf("image %s: %w", path, err)
	}
	return img, nil
}

// Close closes the image.
func (img *Image) Close() error { return img.file.Close() }

func (img *Image) read(ctx context.Context) error {
	st, err := img.file.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	img.Size = st.Size()
	if err := img.bootable(); err != nil {
		return err
	}
	h := sha256.New()
	if err := each(ctx, 0, img.Size, func(buf []byte, off int64) error {
		if _, err := img.file.ReadAt(buf, off); err != nil {
			return err
		}
		h.Write(buf)
		return nil
	}); err != nil {
		return err
	}
	h.Sum(img.SHA256[:0])
	return nil
}

func (img *Image) bootable() error {
	first := make([]byte, sectorSize)
	if n, err := img.file.ReadAt(first, 0); err != nil && err != io.EOF {
		return err
	} else if n < sectorSize {
		return errors.New("it is too short for a disk")
	}
	for _, p := range packed {
		if bytes.HasPrefix(first, []byte(p.magic)) {
			return fmt.Errorf("it is a %s file, not a disk byte for byte; %s", p.what, p.remedy)
		}
	}
	if first[510] != 0x55 || first[511] != 0xaa {
		return errors.New("it has no boot signature: is it a disk? Make one with labimage disk")
	}
	if img.Size%sectorSize != 0 || img.Size <= headSize {
		return fmt.Errorf("its %d bytes are no whole number of sectors past the first MiB", img.Size)
	}
	return nil
}
