package virtiouser

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// origin is what the device is told to be the address of the first byte, as seen by the guest and by its front-end: any name
// would do.
const origin = 1 << 32

// line is the size in bytes of a cache line.
const line = 64

// memory is what is shared with the device: all rings and buffers. It only grows until it is mapped.
type memory struct {
	fd   int
	mem  []byte
	size int
}

// reserve returns the offset of n bytes that share no cache line with others.
func (m *memory) reserve(n int) int {
	at := m.size
	m.size = (at + n + line - 1) &^ (line - 1)
	return at
}

// open makes the memory. Its size is sealed, as devices want it.
func (m *memory) open() (err error) {
	m.size = (m.size + 4095) &^ 4095
	if m.fd, err = unix.MemfdCreate("virtio-user", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING); err != nil {
		return fmt.Errorf("make shared memory: %w", err)
	}
	if err = unix.Ftruncate(m.fd, int64(m.size)); err == nil {
		_, err = unix.FcntlInt(uintptr(m.fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err == nil {
		m.mem, err = unix.Mmap(m.fd, 0, m.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("make %d bytes of shared memory: %w", m.size, err), unix.Close(m.fd))
	}
	return nil
}

func (m *memory) close() error {
	if m.mem == nil {
		return nil
	}
	err := errors.Join(unix.Munmap(m.mem), unix.Close(m.fd))
	m.mem = nil
	return err
}

// table encodes the memory for SET_MEM_TABLE.
func (m *memory) table() []byte {
	b := words32(1, 0)
	for _, v := range [...]uint64{origin, uint64(m.size), origin, 0} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

// words32 encodes 32-bit words.
func words32(values ...uint32) (b []byte) {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func word64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }
