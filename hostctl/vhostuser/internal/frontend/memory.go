// Package frontend is the other side of vhost-user, for tests: guest memory, a driver's side of split and packed rings, and the
// messages of a front-end. It does what it is told, also what no real front-end would do.
package frontend

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// Memory is a guest's memory: a memfd with an allocator that only grows.
type Memory struct {
	FD   int
	Mem  []byte
	GPA  uint64 // guest-physical address of byte 0
	UVA  uint64 // front-end address of byte 0
	next int
}

// NewMemory makes size bytes of sealed memory, which lasts as long as the test.
func NewMemory(t testing.TB, size int) *Memory {
	t.Helper()
	m := NewUnsealedMemory(t, size, unix.MFD_ALLOW_SEALING)
	if _, err := unix.FcntlInt(uintptr(m.FD), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW); err != nil {
		t.Fatal(err)
	}
	return m
}

// NewUnsealedMemory is NewMemory without the seals, with flags for memfd_create(2).
func NewUnsealedMemory(t testing.TB, size int, flags int) *Memory {
	t.Helper()
	fd, err := unix.MemfdCreate("guest", unix.MFD_CLOEXEC|flags)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(mem) })
	return &Memory{FD: fd, Mem: mem, GPA: 1 << 30, UVA: 0x7f00_0000_0000}
}

// Alloc returns the offset of n fresh bytes, aligned to 16.
func (m *Memory) Alloc(n int) int {
	off := (m.next + 15) &^ 15
	m.next = off + n
	if m.next > len(m.Mem) {
		panic("frontend: out of guest memory")
	}
	return off
}

// Reset forgets all allocations.
func (m *Memory) Reset() { m.next = 0 }

// Region encodes the memory as a region of the protocol, with the given size.
func (m *Memory) Region(size uint64) []byte {
	b := binary.LittleEndian.AppendUint64(nil, m.GPA)
	b = binary.LittleEndian.AppendUint64(b, size)
	b = binary.LittleEndian.AppendUint64(b, m.UVA)
	return binary.LittleEndian.AppendUint64(b, 0)
}
