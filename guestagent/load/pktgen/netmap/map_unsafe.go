package netmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapping is a registration and the memory it shares with the kernel.
type mapping struct {
	fd     int
	memory []byte
	offset int // of struct netmap_if
}

func register(fd int, r request) (*mapping, error) {
	body := r.body()
	head := header(r.name, uint64(uintptr(unsafe.Pointer(&body[0]))))
	_, _, e := syscall.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlControl, uintptr(unsafe.Pointer(&head[0])))
	runtime.KeepAlive(body)
	if e != 0 {
		return nil, e
	}
	size := binary.NativeEndian.Uint64(body[registerMemSize:])
	memory, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", size, err)
	}
	return &mapping{fd: fd, memory: memory, offset: int(binary.NativeEndian.Uint64(body[registerOffset:]))}, nil
}

func (m *mapping) close() error { return errors.Join(unix.Munmap(m.memory), unix.Close(m.fd)) }

// word is a 32-bit word of the memory, which the kernel may change.
func word(memory []byte, at int) *uint32 {
	return (*uint32)(unsafe.Pointer(&memory[at : at+4 : at+4][0]))
}

func load(memory []byte, at int) uint32     { return atomic.LoadUint32(word(memory, at)) }
func store(memory []byte, at int, v uint32) { atomic.StoreUint32(word(memory, at), v) }

// syncRings asks the kernel to look at the rings.
func syncRings(fd int, request uintptr) error {
	_, _, e := syscall.Syscall(unix.SYS_IOCTL, uintptr(fd), request, 0)
	if e != 0 {
		return e
	}
	return nil
}
