package memif

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Layout of a ring: cookie u32, flags u16, head u16; tail u16 in the next cache line; the descriptors after that.
const (
	cookie    = 0x3e31f20
	ringFlags = 4
	ringTail  = 64
	ringDesc  = 128
	descSize  = 16
	maxLog2   = 14

	flagNext      = 1 // of a descriptor: the frame goes on in the next one
	flagMask      = 1 // of a ring: no interrupts
	bufferStride  = 64
	maxLength     = 0xffff_ffff
	lengthShift   = 32
	regionShift   = 16
	halfMask      = 0xffff
	descFlagsMask = 0xffff
)

func ringSize(n int) int { return ringDesc + n*descSize }

var errBroken = errors.New("peer broke the ring")

// ring is one end of a ring. The client writes head and reads tail, the server writes tail and reads head. In a ring to the
// server, what is between tail and head are frames; in a ring to the client, it is empty buffers, and what is before are
// frames. Indices run modulo 2^16.
type ring struct {
	mu      sync.Mutex // held while the ring is worked
	view    ringView
	size    uint16
	client  bool // which end this is
	sending bool
	pos     uint16       // next entry to work
	seen    uint16       // entries before it may be worked
	regions [][]byte     // nil when the ring is down
	base    uint64       // client: where the buffer of entry 0 is in region 0
	stride  uint64       // client: between buffers
	room    uint32       // client: of a buffer
	fd      int          // eventfd for the receiver
	armed   bool         // receiver: interrupts are wanted
	more    bool         // what arm found
	armIt   func() error // doArm, once: method values allocate
	touched byte         // what touch read
	err     error
}

// locate finds the ring in a region.
func (r *ring) locate(regions [][]byte, region uint16, offset uint32, log2 uint8) error {
	if int(region) >= len(regions) || log2 == 0 || log2 > maxLog2 || offset%8 != 0 {
		return fmt.Errorf("ring of 2^%d entries at %#x of region %d: %w", log2, offset, region, errProtocol)
	}
	n := 1 << log2
	if mem := regions[region]; uint64(offset)+uint64(ringSize(n)) > uint64(len(mem)) {
		return fmt.Errorf("ring of %d entries at %#x of %#x bytes: %w", n, offset, len(mem), errProtocol)
	}
	b := regions[region][offset:]
	if binary.LittleEndian.Uint32(b) != cookie {
		return fmt.Errorf("ring without cookie: %w", errProtocol)
	}
	r.view, r.size = viewRing(b, n), uint16(n)
	return nil
}

// start makes the ring usable. The client's buffers are in place.
func (r *ring) start(regions [][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pos, r.seen, r.err, r.regions, r.armed = 0, 0, nil, regions, false
	if !r.sending {
		r.view.setFlags(flagMask)
	}
	if r.client && !r.sending {
		for i := range r.size {
			r.offer(i)
		}
		r.publish()
	}
}

// stop ends the use of the ring: when it returns, nobody works it.
func (r *ring) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.regions = nil
	if r.fd >= 0 {
		_ = unix.Close(r.fd)
	}
	r.fd = -1
}

// ready returns how many entries there are to work; it looks at shared memory only when it knows of fewer than wanted.
func (r *ring) ready(wanted int) (int, error) {
	if n := int(r.seen - r.pos); n >= wanted {
		return n, nil
	}
	return r.look()
}

// look is ready for more than it can know of.
func (r *ring) look() (int, error) {
	seen := uint16(0)
	switch {
	case !r.client:
		seen = r.view.loadHead()
	case r.sending:
		seen = r.view.loadTail() + r.size
	default:
		seen = r.view.loadTail()
	}
	if seen-r.pos > r.size {
		return 0, fmt.Errorf("index %d at %d in a ring of %d: %w", seen, r.pos, r.size, errBroken)
	}
	r.seen = seen
	return int(seen - r.pos), nil
}

// publish tells the peer of all before pos: of buffers to fill, too, if those are the client's to give.
func (r *ring) publish() {
	switch {
	case !r.client:
		r.view.storeTail(r.pos)
	case r.sending:
		r.view.storeHead(r.pos)
	default:
		r.view.storeHead(r.pos + r.size)
	}
}

// offer makes entry i an empty buffer.
func (r *ring) offer(i uint16) {
	d := &r.view.desc[i&(r.size-1)]
	d.where = r.place(i)
	d.what = uint64(r.room) << lengthShift
}

// place returns where the client's buffer of entry i is.
func (r *ring) place(i uint16) uint64 { return r.base + uint64(i&(r.size-1))*r.stride }

// piece returns the memory that the halves of a descriptor name, or nil if that is none of ours.
func (r *ring) piece(what, where uint64) []byte {
	region, length, off := int(what>>regionShift&halfMask), what>>lengthShift, where&maxLength
	if region >= len(r.regions) || off+length > uint64(len(r.regions[region])) {
		return nil
	}
	return r.regions[region][off : off+length : off+length]
}

// call interrupts the receiver, if it wants that. Publishing is a full barrier between the frames and this look.
func (r *ring) call() {
	if r.view.flags()&flagMask == 0 && r.fd >= 0 {
		one := [8]byte{1}
		_, _ = unix.Write(r.fd, one[:])
	}
}
