package memif

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// maxRegion is the greatest size of a region in bytes: more than any real one.
const maxRegion = 1 << 40

var errRegion = errors.New("bad memory region")

// mapRegion maps size bytes of a client's file, which stays the caller's. One that its owner can shrink, although it could be
// sealed, is refused.
func mapRegion(fd int, size uint64) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("stat region: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || size == 0 || size > maxRegion || uint64(st.Size) < size {
		return nil, fmt.Errorf("region of %d bytes in a file of %d: %w", size, st.Size, errRegion)
	}
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err == nil && seals&(unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL) == 0 {
		return nil, fmt.Errorf("region lacks F_SEAL_SHRINK: %w", errRegion)
	}
	mem, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map region: %w", err)
	}
	_ = unix.Madvise(mem, unix.MADV_DONTDUMP)
	return mem, nil
}

// makeRegion makes and maps sealed memory of size bytes.
func makeRegion(size int) (fd int, mem []byte, err error) {
	fd, err = unix.MemfdCreate("memif", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, nil, fmt.Errorf("make region: %w", err)
	}
	err = unix.Ftruncate(fd, int64(size))
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW)
	}
	if err == nil {
		mem, err = mapRegion(fd, uint64(size))
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, nil, fmt.Errorf("make region: %w", err)
	}
	return fd, mem, nil
}
