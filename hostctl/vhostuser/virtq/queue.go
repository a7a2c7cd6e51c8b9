package virtq

import (
	"errors"
	"fmt"
	"math/bits"

	"picolab/hostctl/vhostuser/guestmem"
)

// Feature bits that change how rings work (virtio 1.2 section 6).
const (
	FeatureIndirect = 1 << 28 // VIRTIO_F_INDIRECT_DESC
	FeatureEventIdx = 1 << 29 // VIRTIO_F_EVENT_IDX
	FeatureVersion1 = 1 << 32 // VIRTIO_F_VERSION_1
	FeaturePacked   = 1 << 34 // VIRTIO_F_RING_PACKED
	FeatureInOrder  = 1 << 35 // VIRTIO_F_IN_ORDER
)

// MaxSize is the greatest number of entries of a ring.
const MaxSize = 32768

// PackedBase is the base of a packed ring that was never used: both positions 0, both wrap counters 1.
const PackedBase = 0x80008000

var (
	// ErrBroken means that the driver broke the rules of the ring. It is the guest's fault and lasts until the ring is
	// set up anew.
	ErrBroken = errors.New("driver broke the virtqueue")
	// ErrConfig means that the ring cannot be set up as asked.
	ErrConfig = errors.New("bad virtqueue setup")
)

// Queue is one virtqueue as its device sees it, whatever the layout of its ring.
type Queue interface {
	// Size returns the number of entries of the ring.
	Size() int
	// Pop takes the next available buffer into c, which it overwrites. It reports false when there is none.
	Pop(c *Chain) (bool, error)
	// PopBatch is Pop for as many buffers as are available, up to len(c), and returns how many it took into the first
	// elements. What the driver broke after the first one is an error of the next call.
	PopBatch(c []Chain) (int, error)
	// Push gives c back, with the number of bytes written at its beginning. Buffers may come back in another order than
	// they were popped, unless the driver accepted FeatureInOrder. The driver sees it after Flush. c's memory must not be
	// touched any more.
	Push(c *Chain, written int)
	// PushBatch is Push for each of c, with what Written says. With FeatureInOrder one entry tells of all of them, if
	// they are only to be read.
	PushBatch(c []Chain)
	// Flush publishes what was pushed and reports whether the driver wants to be called for it.
	Flush() (call bool)
	// Abort makes available again every buffer that was popped and not pushed. Those pushed before must have been
	// pushed in the order in which they were popped.
	Abort()
	// EnableKick asks the driver for a kick when it adds a buffer, and reports whether there is one already, in which
	// case no kick may come and the caller should go on popping.
	EnableKick() (available bool)
	// DisableKick tells the driver that kicks are not needed; some may come all the same.
	DisableKick()
	// Base returns where a successor has to resume, in the form of the GET_VRING_BASE message.
	Base() uint32
	// Remap makes the queue follow a change of guest memory. No popped buffer may be outstanding. On error the queue
	// must be closed.
	Remap() error
	// Close releases the guest memory. Only Base may be called afterwards.
	Close()
}

// Config tells where a ring is. Addresses are those of the front-end's address space, as in SET_VRING_ADDR.
type Config struct {
	Size     int    // entries, a power of two up to MaxSize
	Features uint64 // what the driver accepted
	Desc     uint64 // descriptor area
	Avail    uint64 // driver area
	Used     uint64 // device area
	Base     uint32 // where to begin, as in SET_VRING_BASE
	Memory   *guestmem.Memory

	// Place is where a packed ring notes its place, PlaceSize bytes that outlast a crash; nil for none. Where it tells of a
	// predecessor, that counts, and not Base: the front-end does not know how far one got that crashed. Zeros tell of none.
	Place []byte

	// Dirty page logging. Writes to buffers are logged when they are pushed, those to the ring at once.
	BufferLog   *guestmem.Log // for buffers, nil for no logging
	RingLog     *guestmem.Log // for the ring, nil for no logging
	RingLogAddr uint64        // guest-physical address of the device area, as in SET_VRING_ADDR
}

// New sets up the queue that cfg describes.
func New(cfg Config) (Queue, error) {
	if cfg.Size <= 0 || cfg.Size > MaxSize || bits.OnesCount(uint(cfg.Size)) != 1 {
		return nil, fmt.Errorf("set up ring: %d entries: %w", cfg.Size, ErrConfig)
	}
	if cfg.Place != nil && len(cfg.Place) < PlaceSize {
		return nil, fmt.Errorf("set up ring: place of %d bytes: %w", len(cfg.Place), ErrConfig)
	}
	var q layout
	var err error
	if cfg.Features&FeaturePacked != 0 {
		q, err = newPacked(cfg)
	} else {
		q, err = newSplit(cfg)
	}
	if err != nil {
		return nil, err
	}
	begun := false
	defer func() {
		if !begun { // the memory is gone: see guestmem.Guard
			q.Close()
		}
	}()
	q.begin()
	begun = true
	return q, nil
}

// layout is a queue that has yet to touch its ring for the first time.
type layout interface {
	Queue
	begin()
}
