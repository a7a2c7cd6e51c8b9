// Package flash writes a disk image to a USB stick or memory card and proves that it is there. It refuses everything
// that is not clearly the device meant, holds that exclusively from before the first byte to the end, and reads all of
// it back from the medium. There is no way to do without the proof.
//
// The order of writing makes a cut harmless: first the old partition table goes, then everything past the first MiB is
// written, the first MiB last. Until then the device boots nothing and holds no file system. On a larger device the
// second copy of a GPT stays where the image ends, not at the device's end: firmware and Linux read the first.
//
// Linux only: devices are described by /sys (sysfs, Documentation/ABI/stable/sysfs-block) and /proc, see Machine.
package flash

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// System is the machine's devices.
type System interface {
	// List returns every whole device, by name.
	List() ([]Device, error)
	// Find describes the device that path leads to. A path that is no block device is a *RefusedError.
	Find(path string) (Device, error)
	// Open takes the device for this process alone. One that is in use is a *RefusedError.
	Open(d Device) (Target, error)
}

// Target is an open device.
type Target interface {
	WriteAt(p []byte, off int64) (int, error)
	// Sync returns when everything written is on the medium.
	Sync() error
	// ReadAt reads from the medium, not from what memory remembers of it.
	ReadAt(p []byte, off int64) (int, error)
	// Device describes what is open, as it is now.
	Device() (Device, error)
	// Close gives the device back, and has the kernel read its partition table.
	Close() error
}

// Options says what to write where.
type Options struct {
	Image  string
	Device string
	Force  bool // allow devices that are neither removable nor USB nor MMC; no other guard is lifted
	// Confirm is asked when all other guards have passed; an error ends it. It must not be nil.
	Confirm  func(Device, *Image) error
	Progress func(Progress) // may be nil
}

// Report is the proof.
type Report struct {
	Device Device
	Bytes  int64
	SHA256 string // of the image and of what was read back, hex
	Write  time.Duration
	Verify time.Duration
}

// UnfinishedError says that writing began and the proof was not reached.
type UnfinishedError struct {
	Device string
	Err    error
}

func (e *UnfinishedError) Error() string {
	return fmt.Sprintf("flash %s: not verified: %v\nWhat is on the device now must not be used: run again", e.Device, e.Err)
}

func (e *UnfinishedError) Unwrap() error { return e.Err }

// Flash writes and verifies. Only a nil error means that the device has the image. Guards that do not pass are a
// *RefusedError, and nothing was written then; once writing began every error is an *UnfinishedError, about a
// *VerifyError when reading back found a difference.
func Flash(ctx context.Context, sys System, o Options) (*Report, error) {
	img, err := OpenImage(ctx, o.Image)
	if err != nil {
		return nil, err
	}
	defer img.Close()
	d, err := sys.Find(o.Device)
	if err != nil {
		return nil, err
	}
	if err := Check(d, img.Size, o.Force); err != nil {
		return nil, err
	}
	if err := o.Confirm(d, img); err != nil {
		return nil, err
	}
	return flash(ctx, sys, d, img, o)
}

func flash(ctx context.Context, sys System, d Device, img *Image, o Options) (rep *Report, err error) {
	t, err := sys.Open(d)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closed := t.Close(); closed != nil {
			rep, err = nil, errors.Join(err, closed)
		}
	}()
	now, err := t.Device()
	if err != nil {
		return nil, err
	}
	if now.identity() != d.identity() {
		return nil, refused(now, "it is another device now than the one confirmed", "run again and look at model and serial")
	}
	if err := Check(now, img.Size, o.Force); err != nil {
		return nil, err
	}
	w := &writing{img: img, target: t, device: now, meter: newMeter(o.Progress)}
	if rep, err = w.run(ctx); err != nil {
		return nil, &UnfinishedError{d.Path, err}
	}
	return rep, nil
}

func (w *writing) run(ctx context.Context) (*Report, error) {
	began := time.Now()
	if err := w.write(ctx); err != nil {
		return nil, err
	}
	written := time.Now()
	sum, err := w.verify(ctx)
	if err != nil {
		return nil, err
	}
	return &Report{Device: w.device, Bytes: w.img.Size, SHA256: hex.EncodeToString(sum[:]), Write: written.Sub(began), Verify: time.Since(written)}, nil
}
