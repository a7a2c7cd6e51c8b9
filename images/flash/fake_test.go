package flash

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// errCut is what every operation returns once the power is cut.
var errCut = errors.New("device is gone")

// stick is a device in memory. What was written since the last Sync is on the medium only by chance when it is cut.
type stick struct {
	Device
	medium  []byte
	pending []change
	moved   int64 // bytes written and read so far; a sync counts as one
	cutAt   int64 // byte at which the power goes, 0 for never
	rnd     *rand.Rand
	wrong   func(off int64, p []byte) // spoils what is read
	writes  []int64                   // offsets

	busy   error               // of Open
	later  func(Device) Device // the device as it is when opened
	opened int
}

type change struct {
	off int64
	p   []byte
}

func newStick(size int64) *stick {
	return &stick{
		Device: Device{Name: "sdx", Path: "/dev/sdx", Number: "8:16", Seq: "7", Size: size, Sector: 512, Bus: "usb", Model: "Stick", Serial: "S1", Removable: true},
		medium: make([]byte, size), rnd: rand.New(rand.NewPCG(1, 2)),
	}
}

func (s *stick) List() ([]Device, error)     { return []Device{s.Device}, nil }
func (s *stick) Find(string) (Device, error) { return s.Device, nil }

func (s *stick) Open(Device) (Target, error) {
	if s.busy != nil {
		return nil, s.busy
	}
	s.opened++
	return &open{s}, nil
}

// open is a stick held.
type open struct{ *stick }

func (s *open) Device() (Device, error) {
	if s.later != nil {
		return s.later(s.stick.Device), nil
	}
	return s.stick.Device, nil
}

func (s *open) Close() error { s.opened--; return nil }

// move counts bytes, and cuts the power. It returns how many were moved before that.
func (s *stick) move(n int64) (int64, error) {
	before := s.moved
	s.moved += n
	if s.cutAt == 0 || s.moved < s.cutAt {
		return n, nil
	}
	return max(0, s.cutAt-before), errCut
}

// lose decides what of the writes since the last sync reached the medium: each in part or not at all, by chance.
func (s *stick) lose() {
	for _, c := range s.pending {
		if s.rnd.IntN(2) == 0 {
			copy(s.medium[c.off:], c.p[:s.rnd.IntN(len(c.p)+1)])
		}
	}
	s.pending = nil
}

func (s *open) WriteAt(p []byte, off int64) (int, error) {
	n, err := s.move(int64(len(p)))
	s.pending = append(s.pending, change{off, bytes.Clone(p[:n])})
	s.writes = append(s.writes, off)
	if err != nil {
		s.lose()
	}
	return int(n), err
}

func (s *open) Sync() error {
	if _, err := s.move(1); err != nil {
		s.lose()
		return err
	}
	for _, c := range s.pending {
		copy(s.medium[c.off:], c.p)
	}
	s.pending = nil
	return nil
}

func (s *open) ReadAt(p []byte, off int64) (int, error) {
	if _, err := s.move(int64(len(p))); err != nil {
		return 0, err
	}
	copy(p, s.medium[off:])
	if s.wrong != nil {
		s.wrong(off, p)
	}
	return len(p), nil
}

// image writes a disk image of random bytes.
func image(t testing.TB, size int64, seed byte) (path string, data []byte) {
	t.Helper()
	data = make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	data[510], data[511] = 0x55, 0xaa
	path = filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path, data
}

func yes(Device, *Image) error { return nil }

func mkfs(dev string) ([]byte, error) {
	return exec.Command("/usr/sbin/mkfs.ext4", "-q", dev).CombinedOutput()
}
