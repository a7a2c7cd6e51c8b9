package virtiouser

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrBroken means that the device broke the rules of a ring. It lasts until the port is closed.
var ErrBroken = errors.New("device broke the virtqueue")

const (
	descSize  = 16 // bytes of a descriptor of either layout: address u64, length u32, then two u16
	flagWrite = 2  // descriptor flag: the device writes
)

// buffer is one of a ring's buffers: its number, and how many bytes of it matter.
type buffer struct {
	id  uint16
	len uint32
}

// ring is a virtqueue as its driver sees it. Each of its buffers is one descriptor.
type ring interface {
	// begin comes first, once there is memory: it tells the device not to call.
	begin()
	// add makes buffers available, all at once. There are never more than the ring has entries.
	add(b []buffer)
	// take fills b with buffers that the device has used, and returns how many. What the device broke after the first is an
	// error of the next call.
	take(b []buffer) (int, error)
	// kickWanted reports whether the device wants to hear of what was added.
	kickWanted() bool
	// address encodes where the ring is for SET_VRING_ADDR, and base where it begins for SET_VRING_BASE.
	address(index uint32) []byte
	base() uint32
}

// buffers is what rings of both layouts have in common: memory, a buffer for each entry.
type buffers struct {
	m       *memory
	mask    uint16
	first   int // offset of the first one
	stride  int
	room    int    // bytes of each
	flags   uint32 // of descriptors
	lent    []bool // the device has it
	failure error
}

func newBuffers(m *memory, size, room int, write bool) buffers {
	stride := (room+line-1)&^(line-1) + line // no power of two: buffers that far apart share few sets of the cache
	b := buffers{m: m, mask: uint16(size - 1), stride: stride, room: room, lent: make([]bool, size)}
	b.first = m.reserve(size * stride)
	if write {
		b.flags = flagWrite
	}
	return b
}

func (b *buffers) size() int { return len(b.lent) }

// at is where the device finds a buffer.
func (b *buffers) at(id uint16) uint64 { return origin + uint64(b.first+int(id)*b.stride) }

// bytes returns the memory of a buffer.
func (b *buffers) bytes(id uint16) []byte {
	at := b.first + int(id)*b.stride
	return b.m.mem[at : at+b.room : at+b.room]
}

// back checks a buffer that the device says it used, with n bytes written.
func (b *buffers) back(id, n uint32) error {
	switch {
	case id >= uint32(len(b.lent)) || !b.lent[id]:
		return b.broken("buffer %d is used, which is not its", id)
	case b.flags&flagWrite != 0 && n > uint32(b.room):
		return b.broken("%d bytes in a buffer of %d", n, b.room)
	}
	b.lent[id] = false
	return nil
}

// broken records the device's fault; the ring never works again.
func (b *buffers) broken(format string, args ...any) error {
	b.failure = fmt.Errorf(format+": %w", append(args, ErrBroken)...)
	return b.failure
}

// address encodes a vring_addr without logging, from offsets of the descriptor, device and driver area.
func address(index uint32, desc, device, driver int) []byte {
	b := words32(index, 0)
	for _, off := range [...]int{desc, device, driver} {
		b = binary.LittleEndian.AppendUint64(b, origin+uint64(off))
	}
	return append(b, make([]byte, 8)...)
}
