package xdp

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is one of the four of a socket: indices that only grow, modulo 2^32, and entries. The side that is ours is kept
// in at, the other is read from the kernel.
type ring struct {
	memory             []byte
	producer, consumer *uint32
	flags              *uint32
	entries            unsafe.Pointer
	mask               uint32
	at                 uint32
}

// newRing makes and maps a ring of size entries, a power of two, of entrySize bytes.
func newRing(fd, option int, page int64, size, entrySize uint32, off unix.XDPRingOffset) (*ring, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_XDP, option, int(size)); err != nil {
		return nil, fmt.Errorf("make ring: %w", err)
	}
	m, err := unix.Mmap(fd, page, int(off.Desc)+int(size*entrySize), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map ring: %w", err)
	}
	return &ring{
		memory: m, mask: size - 1, entries: unsafe.Pointer(&m[off.Desc]),
		producer: (*uint32)(unsafe.Pointer(&m[off.Producer])),
		consumer: (*uint32)(unsafe.Pointer(&m[off.Consumer])),
		flags:    (*uint32)(unsafe.Pointer(&m[off.Flags])),
	}, nil
}

func (r *ring) close() error {
	if r == nil {
		return nil
	}
	return unix.Munmap(r.memory)
}

// room is how many entries a producer may write.
func (r *ring) room() uint32 { return r.mask + 1 - (r.at - atomic.LoadUint32(r.consumer)) }

// pending is how many entries the kernel has not consumed.
func (r *ring) pending() uint32 { return r.at - atomic.LoadUint32(r.consumer) }

// ready is how many entries a consumer may read.
func (r *ring) ready() uint32 { return atomic.LoadUint32(r.producer) - r.at }

// produce publishes n entries written from at on.
func (r *ring) produce(n uint32) {
	r.at += n
	atomic.StoreUint32(r.producer, r.at)
}

// consume gives n entries read from at on back.
func (r *ring) consume(n uint32) {
	r.at += n
	atomic.StoreUint32(r.consumer, r.at)
}

// wanted says whether the kernel waits for a call (XDP_RING_NEED_WAKEUP).
func (r *ring) wanted() bool { return atomic.LoadUint32(r.flags)&unix.XDP_RING_NEED_WAKEUP != 0 }

// address is entry i from at on of a fill or completion ring. The mask keeps it inside the mapping.
func (r *ring) address(i uint32) *uint64 {
	return (*uint64)(unsafe.Add(r.entries, uintptr((r.at+i)&r.mask)*8))
}

// descriptor is entry i from at on of a receive or transmit ring.
func (r *ring) descriptor(i uint32) *unix.XDPDesc {
	return (*unix.XDPDesc)(unsafe.Add(r.entries, uintptr((r.at+i)&r.mask)*16))
}

// offsets asks where things are in the rings.
func offsets(fd int) (unix.XDPMmapOffsets, error) {
	var o unix.XDPMmapOffsets
	return o, option(fd, unix.XDP_MMAP_OFFSETS, unsafe.Pointer(&o), uint32(unsafe.Sizeof(o)))
}

// statistics asks what was dropped.
func statistics(fd int) (unix.XDPStatistics, error) {
	var s unix.XDPStatistics
	return s, option(fd, unix.XDP_STATISTICS, unsafe.Pointer(&s), uint32(unsafe.Sizeof(s)))
}

func option(fd, name int, p unsafe.Pointer, size uint32) error {
	_, _, e := syscall.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(name), uintptr(p),
		uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		return e
	}
	return nil
}

// register tells the kernel the memory of the frames.
func register(fd int, memory []byte) error {
	m := unix.XDPUmemReg{Addr: uint64(uintptr(unsafe.Pointer(&memory[0]))), Len: uint64(len(memory)), Size: chunk}
	// Kernels before 6.8 take the structure without its last field only.
	for _, size := range []uintptr{unsafe.Sizeof(m), unsafe.Offsetof(m.Tx_metadata_len)} {
		_, _, e := syscall.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_XDP, unix.XDP_UMEM_REG,
			uintptr(unsafe.Pointer(&m)), size, 0)
		if e == 0 {
			return nil
		}
		if e != unix.EINVAL {
			return fmt.Errorf("register memory: %w", e)
		}
	}
	return fmt.Errorf("register memory: %w", unix.EOPNOTSUPP)
}

// kick makes the kernel look at the transmit ring, a plain sendto(2) of nothing.
func kick(fd int) error {
	_, _, e := syscall.Syscall6(unix.SYS_SENDTO, uintptr(fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	switch e {
	case 0, unix.EAGAIN, unix.ENOBUFS, unix.EINTR:
		return nil // as much as it can just now
	}
	return e
}
