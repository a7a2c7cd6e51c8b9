package netmap

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ring is struct netmap_ring: slots from head up to tail are ours.
type ring struct {
	memory  []byte
	at      int // of the structure
	buffers int // offset of buffer 0
	size    uint32
	slots   uint32
	head    uint32
}

// newRing reads a ring at an offset of the memory and checks that it is inside.
func newRing(memory []byte, at int) (*ring, error) {
	if at < 0 || at+ringSlotBase > len(memory) {
		return nil, errors.New("netmap: a ring is outside the shared memory")
	}
	r := &ring{
		memory: memory, at: at,
		buffers: at + int(int64(binary.NativeEndian.Uint64(memory[at+ringBuffers:]))),
		slots:   load(memory, at+ringSlots), size: load(memory, at+ringBufSize), head: load(memory, at+ringHead),
	}
	if r.slots == 0 || at+ringSlotBase+int(r.slots)*slotLen > len(memory) || r.buffers < 0 || r.buffers > len(memory) {
		return nil, fmt.Errorf("netmap: a ring of %d slots is outside the shared memory", r.slots)
	}
	return r, nil
}

// space is how many slots are ours.
func (r *ring) space() int {
	tail := load(r.memory, r.at+ringTail) % r.slots
	return int((tail + r.slots - r.head%r.slots) % r.slots)
}

// pending is how many sent slots the kernel has not given back: all but one are ours when nothing is.
func (r *ring) pending() int { return int(r.slots) - 1 - r.space() }

func (r *ring) slot(i int) []byte {
	n := (r.head + uint32(i)) % r.slots
	return r.memory[r.at+ringSlotBase+int(n)*slotLen:][:slotLen]
}

// buffer is what slot i from head on points to; its number is checked.
func (r *ring) buffer(i int) []byte {
	start := r.buffers + int(binary.NativeEndian.Uint32(r.slot(i)[slotIndex:]))*int(r.size)
	if start < 0 || start+int(r.size) > len(r.memory) {
		return nil
	}
	return r.memory[start : start+int(r.size) : start+int(r.size)]
}

func (r *ring) length(i int) int { return int(binary.NativeEndian.Uint16(r.slot(i)[slotLength:])) }

// put sets the length of slot i.
func (r *ring) put(i, length int, flags uint16) {
	s := r.slot(i)
	binary.NativeEndian.PutUint16(s[slotLength:], uint16(length))
	binary.NativeEndian.PutUint16(s[slotFlags:slotFlagsEnd], flags)
}

// advance gives n slots to the kernel.
func (r *ring) advance(n int) {
	r.head = (r.head + uint32(n)) % r.slots
	store(r.memory, r.at+ringCur, r.head)
	store(r.memory, r.at+ringHead, r.head)
}

// queue is the rings of one registration. Frames go by the first ring with room.
type queue struct {
	fd       int
	sync     func(fd int, request uintptr) error
	tx, rx   []*ring
	reserved *ring
	received *ring
	taken    int
}

// queue finds the rings that the request gave us.
func (m *mapping) queue(r request) (*queue, error) {
	at := func(off int) int { return int(load(m.memory, m.offset+off)) }
	if m.offset < 0 || m.offset+ifRingOffsets > len(m.memory) {
		return nil, errors.New("netmap: the interface is outside the shared memory")
	}
	tx, rx, hostTx := at(ifTxRings), at(ifRxRings), at(ifHostTxRings)
	first, last := rings(r, tx, hostTx)
	q := &queue{fd: m.fd, sync: syncRings}
	if err := m.add(&q.tx, first, last); err != nil {
		return nil, err
	}
	first, last = rings(r, rx, at(ifHostRxRings))
	return q, m.add(&q.rx, tx+hostTx+first, tx+hostTx+last)
}

// rings is the range of rings that a mode means; the host's are behind the hardware's.
func rings(r request, hardware, host int) (first, last int) {
	switch r.mode {
	case modeHost:
		return hardware, hardware + host
	case modeBoth:
		return 0, hardware + host
	case modeOne:
		return int(r.ring), int(r.ring) + 1
	}
	return 0, hardware
}

func (m *mapping) add(to *[]*ring, first, last int) error {
	for i := first; i < last; i++ {
		at := m.offset + ifRingOffsets + 8*i
		if at+8 > len(m.memory) {
			return errors.New("netmap: ring offsets are outside the shared memory")
		}
		r, err := newRing(m.memory, m.offset+int(int64(binary.NativeEndian.Uint64(m.memory[at:]))))
		if err != nil {
			return err
		}
		*to = append(*to, r)
	}
	return nil
}

// Reserve implements pktgen.Queue.
func (q *queue) Reserve(frames [][]byte) (int, error) {
	for _, r := range q.tx {
		if n := min(r.space(), len(frames)); n > 0 {
			q.reserved = r
			return n, r.fill(frames[:n])
		}
	}
	return 0, q.sync(q.fd, ioctlTxSync)
}

func (r *ring) fill(frames [][]byte) error {
	for i := range frames {
		if frames[i] = r.buffer(i); frames[i] == nil {
			return errors.New("netmap: a slot points outside the shared memory")
		}
	}
	return nil
}

// Send implements pktgen.Queue.
func (q *queue) Send(frames [][]byte) error {
	for i, f := range frames {
		flags := uint16(0)
		if i == len(frames)-1 {
			flags = flagReport
		}
		q.reserved.put(i, len(f), flags)
	}
	q.reserved.advance(len(frames))
	return q.sync(q.fd, ioctlTxSync)
}

// Flush implements pktgen.Queue.
func (q *queue) Flush() (int, error) {
	if err := q.sync(q.fd, ioctlTxSync); err != nil {
		return q.pending(), err
	}
	return q.pending(), nil
}

func (q *queue) pending() (n int) {
	for _, r := range q.tx {
		n += r.pending()
	}
	return n
}

// Receive implements pktgen.Queue.
func (q *queue) Receive(frames [][]byte) (int, error) {
	for _, r := range q.rx {
		n := min(r.space(), len(frames))
		if n == 0 {
			continue
		}
		if err := r.fill(frames[:n]); err != nil {
			return 0, err
		}
		for i := range n {
			frames[i] = frames[i][:min(r.length(i), len(frames[i]))]
		}
		q.received, q.taken = r, n
		return n, nil
	}
	return 0, q.sync(q.fd, ioctlRxSync)
}

// Release implements pktgen.Queue.
func (q *queue) Release() error {
	if q.taken > 0 {
		q.received.advance(q.taken)
		q.taken = 0
	}
	return nil
}

// Descriptor implements pktgen.Queue; poll(2) on it syncs the rings too.
func (q *queue) Descriptor() int { return q.fd }
