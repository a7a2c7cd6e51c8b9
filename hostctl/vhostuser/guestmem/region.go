package guestmem

import (
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// MaxRegions is the number of regions that a table may hold. The protocol's messages carry at most 8 at a time; with
// VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS a front-end adds more one by one.
const MaxRegions = 64

var (
	// ErrRange means that an address range is not wholly inside the guest's memory.
	ErrRange = errors.New("address range outside guest memory")
	// ErrRegion means that a region cannot be used: it overflows, overlaps another one or is larger than its file.
	ErrRegion = errors.New("bad memory region")
	// ErrSeal means that the region's file could be shrunk by its owner although it supports sealing.
	ErrSeal = errors.New("memory file lacks F_SEAL_SHRINK")
)

// Region is one piece of the guest's memory as the front-end describes it. All fields are bytes or byte addresses.
type Region struct {
	GuestAddr uint64 // guest-physical address of its first byte
	Size      uint64
	UserAddr  uint64 // address of its first byte in the front-end, used by SET_VRING_ADDR
	Offset    uint64 // of its first byte in the file
}

func (r Region) String() string {
	return fmt.Sprintf("gpa %#x size %#x uva %#x offset %#x", r.GuestAddr, r.Size, r.UserAddr, r.Offset)
}

// check refuses regions whose arithmetic overflows (CVE-2020-10722).
func (r Region) check() error {
	_, c1 := bits.Add64(r.GuestAddr, r.Size, 0)
	_, c2 := bits.Add64(r.UserAddr, r.Size, 0)
	end, c3 := bits.Add64(r.Offset, r.Size, 0)
	if r.Size == 0 || c1|c2|c3 != 0 || end > 1<<62 {
		return fmt.Errorf("check region %v: %w", r, ErrRegion)
	}
	return nil
}

func (r Region) overlaps(o Region) bool {
	return overlap(r.GuestAddr, r.Size, o.GuestAddr, o.Size) || overlap(r.UserAddr, r.Size, o.UserAddr, o.Size)
}

func overlap(a, an, b, bn uint64) bool { return a < b+bn && b < a+an }

// file identifies what is behind a descriptor, so that a region re-added with another file is not taken for the old one.
type file struct{ dev, ino uint64 }

// mapping is a mapped region, shared by every table that contains it.
type mapping struct {
	Region
	file file
	raw  []byte // what mmap returned
	skip int    // bytes of it before the region
	mem  []byte // the region's bytes within raw
	refs atomic.Int32

	sealed bool // the file cannot be shrunk
}

// mapRegion maps r from fd, which stays the caller's. The mapping starts with one reference.
func mapRegion(r Region, fd int) (*mapping, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	st, err := checkFile(r, fd)
	if err != nil {
		return nil, fmt.Errorf("map region %v: %w", r, err)
	}
	block := blockSize(st)
	start := r.Offset &^ (block - 1)
	length := (r.Offset - start + r.Size + block - 1) &^ (block - 1) // munmap of huge pages wants whole ones
	raw, err := unix.Mmap(fd, int64(start), int(length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("map region %v: %w", r, err)
	}
	_ = unix.Madvise(raw, unix.MADV_DONTDUMP) // a guest's memory has no business in our core files
	m := &mapping{Region: r, file: file{uint64(st.Dev), st.Ino}, raw: raw, skip: int(r.Offset - start), sealed: sealed(fd)}
	m.mem = raw[m.skip:][:r.Size:r.Size]
	m.refs.Store(1)
	return m, nil
}

// checkFile proves that the file is long enough and, where that can be proved, that it stays so.
func checkFile(r Region, fd int) (*unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("stat: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("%w: not a regular file", ErrRegion)
	}
	if uint64(st.Size) < r.Offset+r.Size {
		return nil, fmt.Errorf("%w: file has %#x bytes", ErrRegion, st.Size)
	}
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	// Files on tmpfs and memfds made without MFD_ALLOW_SEALING report F_SEAL_SEAL alone: those cannot be sealed.
	if err == nil && seals&(unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL) == 0 {
		return nil, ErrSeal
	}
	return &st, nil
}

// sealed reports whether the file is proved to stay as long as it is.
func sealed(fd int) bool {
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	return err == nil && seals&unix.F_SEAL_SHRINK != 0
}

// blockSize returns the file's page size: hugetlbfs reports its own there, and wants offsets that are multiples of it.
func blockSize(st *unix.Stat_t) uint64 {
	size := uint64(st.Blksize)
	if size < 4096 || size > 1<<30 || bits.OnesCount64(size) != 1 {
		return 4096
	}
	return size
}

func (m *mapping) release() {
	if m.refs.Add(-1) == 0 {
		_ = unix.Munmap(m.raw)
		m.raw, m.mem = nil, nil
	}
}
