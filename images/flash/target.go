package flash

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// disk is an open block device.
type disk struct {
	*os.File          // for writing, held exclusively
	machine  Machine  // describes it
	direct   *os.File // for reading past the page cache
	aligned  []byte   // whole pages, what direct reading asks for
}

// Open takes the device with O_EXCL: on block devices that fails while any process, in any mount namespace, has it or a
// partition of it mounted or in use as swap, and keeps others from mounting it (open(2)).
func (m Machine) Open(d Device) (Target, error) {
	f, err := os.OpenFile(d.Path, os.O_RDWR|os.O_EXCL|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.EBUSY):
		return nil, refused(d, "it is in use", "unmount it, in other containers too")
	case errors.Is(err, unix.EROFS):
		return nil, refused(d, "it is read-only", "look for a switch on the card")
	case err != nil:
		return nil, err
	}
	t := &disk{File: f, machine: m}
	if err := t.prepare(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// prepare opens the very same device again for reading.
func (t *disk) prepare() error {
	var err error
	if t.aligned, err = unix.Mmap(-1, 0, blockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
		return fmt.Errorf("allocate: %w", err)
	}
	self := fmt.Sprintf("/proc/self/fd/%d", t.Fd())
	if t.direct, err = os.OpenFile(self, os.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open for reading back: %w", err)
	}
	return nil
}

// Device describes the open device by its number: the node's name may lead to another one by now.
func (t *disk) Device() (Device, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(t.Fd()), &st); err != nil {
		return Device{}, err
	}
	d, err := t.machine.numbered(st.Rdev)
	d.Path = t.Name()
	return d, err
}

// Sync flushes, and then has the kernel forget what it remembers of the device (BLKFLSBUF), so that a read must ask it.
func (t *disk) Sync() error {
	if err := t.File.Sync(); err != nil {
		return err
	}
	if err := unix.IoctlSetInt(int(t.Fd()), unix.BLKFLSBUF, 0); err != nil && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("flush buffers: %w", err) // without the privilege direct reading has to do
	}
	return nil
}

// ReadAt reads with O_DIRECT.
func (t *disk) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		want := min(len(p)-n, len(t.aligned))
		got, err := t.direct.ReadAt(t.aligned[:want], off+int64(n))
		n += copy(p[n:], t.aligned[:got])
		if err != nil && (err != io.EOF || n < len(p)) {
			return n, err
		}
	}
	return n, nil
}

// Close ends the exclusive hold; the kernel looks at the new partition table before.
func (t *disk) Close() error {
	err := t.File.Sync()
	// A device that cannot have partitions, or is busy after all, keeps the old table until it is plugged in again.
	_ = unix.IoctlSetInt(int(t.Fd()), unix.BLKRRPART, 0)
	if t.direct != nil {
		err = errors.Join(err, t.direct.Close())
	}
	if t.aligned != nil {
		err = errors.Join(err, unix.Munmap(t.aligned))
	}
	return errors.Join(err, t.File.Close())
}
