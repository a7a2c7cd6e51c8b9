package flash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
)

const (
	headSize  = 1 << 20  // written last: boot code and partition table
	blockSize = 4 << 20  // bytes of a write or read
	syncEvery = 32 << 20 // so that progress tells of the medium, not of memory
)

// VerifyError says that the medium does not hold what was written to it.
type VerifyError struct {
	Offset int64 // of the first byte that differs
}

func (e *VerifyError) Error() string {
	return fmt.Sprintf("read back: byte %d differs from the image; the device is bad or lies about its size, do not use it", e.Offset)
}

// errChanged is about the image, not the device.
var errChanged = errors.New("the image file was changed while it was written; run again")

// writing is one Flash under way.
type writing struct {
	img    *Image
	target Target
	device Device
	meter  *meter
}

// each calls f for consecutive blocks from one offset up to another. The buffer is reused.
func each(ctx context.Context, from, to int64, f func(buf []byte, off int64) error) error {
	buf := make([]byte, max(0, min(blockSize, to-from)))
	for off := from; off < to; {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := buf[:min(blockSize, to-off)]
		if err := f(b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

// write puts the image on the device, see the package's comment for the order.
func (w *writing) write(ctx context.Context) error {
	w.meter.start("write", w.img.Size)
	for _, step := range []func(context.Context) error{w.erase, w.body, w.head} {
		if err := step(ctx); err != nil {
			return err
		}
		if err := w.target.Sync(); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
	}
	return nil
}

// erase takes away the partition tables that are there: the first MiB and, as a GPT has its copy at the end, the last
// one where the image does not reach.
func (w *writing) erase(context.Context) error {
	if err := w.put(make([]byte, headSize), 0); err != nil {
		return err
	}
	end := w.device.Size - max(w.device.Size-headSize, w.img.Size)
	if end <= 0 {
		return nil
	}
	return w.put(make([]byte, end), w.device.Size-end)
}

func (w *writing) body(ctx context.Context) error {
	unsynced := int64(0)
	return each(ctx, headSize, w.img.Size, func(buf []byte, off int64) error {
		if err := w.block(buf, off); err != nil {
			return err
		}
		if unsynced += int64(len(buf)); unsynced < syncEvery {
			return nil
		}
		unsynced = 0
		if err := w.target.Sync(); err != nil {
			return fmt.Errorf("sync: %w", err)
		}
		return nil
	})
}

func (w *writing) head(ctx context.Context) error {
	return each(ctx, 0, headSize, w.block)
}

// block copies one block.
func (w *writing) block(buf []byte, off int64) error {
	if _, err := w.img.file.ReadAt(buf, off); err != nil {
		return fmt.Errorf("read image: %w", err)
	}
	if err := w.put(buf, off); err != nil {
		return err
	}
	w.meter.add(int64(len(buf)))
	return nil
}

func (w *writing) put(buf []byte, off int64) error {
	if _, err := w.target.WriteAt(buf, off); err != nil {
		return fmt.Errorf("write at byte %d: %w", off, err)
	}
	return nil
}

// verify reads the device, compares it with the image, and returns its digest, which is the one that the image had
// before anything was written.
func (w *writing) verify(ctx context.Context) (sum [sha256.Size]byte, err error) {
	w.meter.start("verify", w.img.Size)
	h := sha256.New()
	want := make([]byte, min(blockSize, w.img.Size))
	err = each(ctx, 0, w.img.Size, func(got []byte, off int64) error {
		if _, err := w.target.ReadAt(got, off); err != nil {
			return fmt.Errorf("read back at byte %d: %w", off, err)
		}
		want := want[:len(got)]
		if _, err := w.img.file.ReadAt(want, off); err != nil {
			return fmt.Errorf("read image: %w", err)
		}
		h.Write(got)
		if !bytes.Equal(got, want) {
			return &VerifyError{off + difference(got, want)}
		}
		w.meter.add(int64(len(got)))
		return nil
	})
	if err != nil {
		return sum, err
	}
	h.Sum(sum[:0])
	if sum != w.img.SHA256 {
		return sum, errChanged
	}
	return sum, nil
}

func difference(a, b []byte) int64 {
	for i := range a {
		if a[i] != b[i] {
			return int64(i)
		}
	}
	return int64(len(a))
}
