package virtq

import (
	"encoding/binary"
	"fmt"

	"picolab/hostctl/vhostuser/guestmem"
)

// Layout of a packed ring (virtio 1.2 section 2.8): descriptors as in a split ring, but for the last 4 bytes, which are
// the buffer's id and the flags. Each event suppression area is 4 bytes: where to notify, and whether.
const (
	descLen    = 8
	descWord   = 12 // u16 id, u16 flags
	eventArea  = 4
	flagAvail  = 1 << 7 // equal to the driver's wrap counter, and flagUsed is not: available
	flagUsed   = 1 << 15
	flagsOwner = flagAvail | flagUsed

	// Upper half of an event area; the lower one is a place in the form of half a base.
	eventEnable  = 0 << 16
	eventDisable = 1 << 16
	eventPlace   = 2 << 16
	eventMask    = 3 << 16
)

// packed is a queue with a packed ring. Positions run modulo 2^16, the entry being position modulo size; as the size is a
// power of two up to 2^15, the bit above the entry tells the laps apart: where it is clear, the wrap counter is 1.
type packed struct {
	ring
	mask     uint16
	next     uint16 // position to pop next
	inflight uint16 // entries of buffers that were popped and not pushed
	staged   uint16 // position of the next used descriptor
	flushed  uint16 // position of the first one not published
	first    uint32 // id and flags that publish it
	event    uint32 // device event area as published
}

func newPacked(cfg Config) (*packed, error) {
	q := &packed{ring: ring{cfg: cfg}, mask: uint16(cfg.Size - 1)}
	avail, used := uint16(cfg.Base), uint16(cfg.Base>>16)
	if used == 0 { // DPDK, as either side, does not know that there is a second half
		used = avail
	}
	q.next, q.flushed = q.position(avail), q.position(used)
	if avail&^(1<<15) > q.mask || used&^(1<<15) > q.mask || q.lapped(q.next-q.flushed) > uint16(cfg.Size) {
		return nil, fmt.Errorf("set up ring: base %#x: %w", cfg.Base, ErrConfig)
	}
	// What lies between was popped by a predecessor and never came back: those entries stay taken.
	q.next = q.flushed + q.lapped(q.next-q.flushed)
	q.staged = q.flushed
	return q, q.locate()
}

// begin asks for kicks: a predecessor may have wanted none.
func (q *packed) begin() {
	q.resume()
	q.publish(eventEnable)
}

// lapped reduces a distance to two laps, after which everything looks the same.
func (q *packed) lapped(d uint16) uint16 { return d & (q.mask<<1 | 1) }

// position and place convert between positions and the 16 bits that name an entry and, in the highest, the wrap counter.
func (q *packed) position(place uint16) uint16 { return place&^(1<<15) + q.size()&^-(place>>15) }

func (q *packed) place(p uint16) uint16 {
	place := p & q.mask
	if p&q.size() == 0 {
		place |= 1 << 15
	}
	return place
}

func (q *packed) size() uint16 { return q.mask + 1 }

func (q *packed) Base() uint32 {
	return uint32(q.place(q.next-q.inflight)) | uint32(q.place(q.flushed))<<16
}

// peek reads id and flags of the next descriptor, and reports whether it is available.
func (q *packed) peek() (word uint32, ok bool, err error) {
	if q.err != nil {
		return 0, false, q.err
	}
	word = guestmem.Load32(q.desc, descSize*int(q.next&q.mask)+descWord)
	return word, word&(flagsOwner<<16) == q.available(q.next), nil
}

// available returns the flags AVAIL and USED, in the place they have in a word, of a descriptor at p that is available.
func (q *packed) available(p uint16) uint32 {
	if p&q.size() != 0 {
		return flagUsed << 16
	}
	return flagAvail << 16
}

func (q *packed) Pop(c *Chain) (bool, error) {
	word, ok, err := q.peek()
	if !ok {
		return false, err
	}
	c.reset(0)
	if err := q.walk(c, word); err != nil {
		return false, err
	}
	q.next += c.slots
	q.inflight += c.slots
	return true, nil
}

func (q *packed) PopBatch(c []Chain) (int, error) {
	for i := 0; i < len(c); i++ {
		i += q.popSingles(c[i:])
		if i == len(c) {
			break
		}
		if ok, err := q.Pop(&c[i]); !ok {
			if i > 0 {
				err = nil // the next call returns it
			}
			return i, err
		}
	}
	return len(c), nil
}

// popSingles takes the next buffers, as long as they are available, are one descriptor, as nearly all are, and where the last
// one was. It returns how many it took.
func (q *packed) popSingles(cs []Chain) int {
	if q.err != nil || q.cfg.BufferLog != nil {
		return 0
	}
	base, mem := q.cursor.Window()
	cs = cs[:min(len(cs), int(q.size()-(q.next-q.flushed)))]
	descs, mask, next := q.descs, q.mask, q.next
	for i := range cs {
		p := next + uint16(i)
		d := &descs[p&mask]
		word := loadWord(d)
		if word&((flagsOwner|flagNext|flagIndirect)<<16) != q.available(p) {
			return q.popped(i)
		}
		addr, n := d.addr, uint64(uint32(d.rest))
		off := addr - base
		end := off + n
		if off >= end || end > uint64(len(mem)) {
			return q.popped(i)
		}
		if word&(flagWrite<<16) != 0 {
			cs[i].writable(uint16(word), mem[off:end:end])
		} else {
			cs[i].readable(uint16(word), mem[off:end:end])
		}
	}
	return q.popped(len(cs))
}

func (q *packed) popped(n int) int {
	q.next += uint16(n)
	q.inflight += uint16(n)
	return n
}

// readPacked copies entry i of table, each field once; word is id and flags together.
func readPacked(table []byte, i int) (d descriptor, word uint32) {
	e := table[i*descSize:][:descSize]
	addr, rest := binary.LittleEndian.Uint64(e), binary.LittleEndian.Uint64(e[descLen:])
	return descriptor{addr: addr, len: uint32(rest), flags: uint16(rest >> 48)}, uint32(rest >> 32)
}

// walk collects the chain at the next entry, of whose descriptor id and flags have been read. The driver published that
// descriptor last, so the others are there. They cannot be more than the ring has entries, less those in flight.
func (q *packed) walk(c *Chain, word uint32) error {
	for {
		p := q.next + c.slots
		if p-q.flushed >= q.size() { // CVE-2016-5403, too: buffers resubmitted before they were completed
			return q.broken("chain at entry %d: more than %d entries in flight", q.next&q.mask, q.cfg.Size)
		}
		d, w := readPacked(q.desc, int(p&q.mask))
		if c.slots == 0 { // that word was read before, and once is enough
			d.flags, w = uint16(word>>16), word
		}
		c.id = uint16(w) // the last one's counts
		c.slots++
		if d.flags&flagIndirect != 0 {
			return q.walkTable(c, d)
		}
		if err := q.take(c, d); err != nil {
			return err
		}
		if d.flags&flagNext == 0 {
			return nil
		}
	}
}

// walkTable collects an indirect table: all of it, in order; of its flags only the one for writable memory counts
// (virtio 1.2 section 2.8.7).
func (q *packed) walkTable(c *Chain, d descriptor) error {
	if c.slots > 1 {
		return q.broken("indirect descriptor in a chain")
	}
	table, n, err := q.indirect(d, false)
	if err != nil {
		return err
	}
	if n > q.cfg.Size {
		return q.broken("indirect table of %d entries in a ring of %d", n, q.cfg.Size)
	}
	for i := range n {
		d, _ := readPacked(table, i)
		if err := q.take(c, d); err != nil {
			return err
		}
	}
	return nil
}

// Push writes the used descriptor. All but the first of a batch are complete at once: the driver reads them in order, and
// does not get past the first.
func (q *packed) Push(c *Chain, written int) {
	if q.cfg.BufferLog != nil {
		q.logWritten(c, written)
	}
	q.use(c.id, c.slots, written)
}

// use writes the used descriptor of a buffer, or of a batch, that takes so many entries.
func (q *packed) use(id, slots uint16, written int) {
	word := q.usedWord(id, written, q.staged)
	e := q.desc[descSize*int(q.staged&q.mask):][:descSize]
	if q.staged == q.flushed {
		binary.LittleEndian.PutUint32(e[descLen:], uint32(written))
		q.first = word
	} else {
		binary.LittleEndian.PutUint64(e[descLen:], uint64(uint32(written))|uint64(word)<<32)
	}
	q.staged += slots
	q.inflight -= slots
}

func (q *packed) PushBatch(c []Chain) {
	if q.skips(c) {
		slots := uint16(0)
		for i := range c {
			slots += c[i].slots
		}
		q.use(c[len(c)-1].id, slots, 0)
		return
	}
	if q.cfg.BufferLog != nil || q.staged == q.flushed {
		k := min(1, len(c))
		if q.cfg.BufferLog != nil {
			k = len(c)
		}
		for i := range c[:k] {
			q.Push(&c[i], c[i].wrote)
		}
		c = c[k:]
	}
	at := q.staged
	for i := range c {
		q.descs[at&q.mask].rest = uint64(q.usedWord(c[i].id, c[i].wrote, at))<<32 | uint64(uint32(c[i].wrote))
		at += c[i].slots
	}
	q.inflight -= at - q.staged
	q.staged = at
}

// usedWord returns id and flags of the descriptor at p that gives back a buffer.
func (q *packed) usedWord(id uint16, written int, p uint16) uint32 {
	word := uint32(id)
	if p&q.size() == 0 {
		word |= flagsOwner << 16
	}
	if written > 0 {
		word |= flagWrite << 16
	}
	return word
}

func (q *packed) Flush() bool {
	if q.staged == q.flushed || q.mem == nil {
		return false
	}
	if q.cfg.Place != nil {
		q.note(q.staged, q.flushed)
	}
	guestmem.Store32(q.desc, descSize*int(q.flushed&q.mask)+descWord, q.first)
	if q.cfg.Place != nil {
		q.note(q.staged, q.staged)
	}
	n := q.staged - q.flushed
	q.logEntries(n)
	q.flushed = q.staged
	return q.wantsCall(n)
}

// logEntries marks the n descriptors from the first one that was published.
func (q *packed) logEntries(n uint16) {
	if q.cfg.RingLog == nil {
		return
	}
	first := uint64(q.flushed & q.mask)
	k := min(uint64(n), uint64(q.cfg.Size)-first)
	q.cfg.RingLog.Mark(q.descAddr+descSize*first, descSize*k)
	q.cfg.RingLog.Mark(q.descAddr, descSize*(uint64(n)-k))
}

// wantsCall decides whether to call the driver after the last n entries were used.
func (q *packed) wantsCall(n uint16) bool {
	if !q.called { // what the driver wrote before this ring started may be stale
		q.called = true
		return true
	}
	event := guestmem.Load32(q.avail, 0)
	switch event & eventMask {
	case eventDisable:
		return false
	case eventPlace:
		if q.cfg.Features&FeatureEventIdx != 0 {
			return q.lapped(q.flushed-q.position(uint16(event))-1) < n
		}
	}
	return true
}

func (q *packed) Abort() {
	q.next -= q.inflight
	q.inflight = 0
}

func (q *packed) EnableKick() bool {
	if q.err != nil || q.mem == nil {
		return false
	}
	// The store is a full barrier, so an entry added before the driver could see it is seen by peek.
	event := uint32(eventEnable)
	if q.cfg.Features&FeatureEventIdx != 0 {
		event = eventPlace | uint32(q.place(q.next))
	}
	if event != q.event {
		q.publish(event)
	}
	_, ok, _ := q.peek()
	return ok
}

func (q *packed) DisableKick() {
	if q.event != eventDisable && q.mem != nil {
		q.publish(eventDisable)
	}
}

// publish tells the driver when to kick.
func (q *packed) publish(event uint32) {
	q.event = event
	guestmem.Store32(q.used, 0, event)
	q.logUsed(0, eventArea)
}
