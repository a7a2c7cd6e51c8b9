package virtq

// Chain is one buffer of the driver: bytes for the device to read, followed by room for it to write. Both are plain
// streams; how the driver cut them into descriptors does not show, so a header may have any shape (CVE-2022-2132).
// A Chain may be used for one Pop after the other, and then does not allocate. Its memory is the guest's: it may change
// at any time, and is the device's only until Push, Abort or Remap.
type Chain struct {
	id     uint16
	slots  uint16 // entries of a packed ring that it takes
	sawOut bool
	wrote  int // bytes that went through Write
	in     stream
	out    stream
	segs   [][]byte // all segments but the first of either stream: those of in, then those of out
	spans  []span   // where the writable bytes are, while they are logged
}

// span is a range of guest-physical addresses.
type span struct {
	addr uint64
	len  uint32
}

// stream is a position in a list of segments. The first one is here, so that a buffer of one piece, as most are, needs no
// list. A descriptor of length 0 leaves no segment.
type stream struct {
	head []byte // rest of the current segment, empty only at the end
	rest int    // bytes after it
	next int    // index of the segment after it
}

func (c *Chain) reset(id uint16) {
	c.id, c.slots, c.sawOut, c.wrote = id, 0, false, 0
	c.in, c.out = stream{}, stream{}
	c.segs, c.spans = c.segs[:0], c.spans[:0]
}

// readable makes the chain one piece of memory, which is not empty, to be read. It stores as little as possible.
func (c *Chain) readable(id uint16, mem []byte) {
	c.id, c.slots, c.wrote = id, 1, 0
	c.in.head, c.in.rest = mem, 0
	c.out.head, c.out.rest = c.out.head[:0], 0
}

// writable is readable for memory to be written.
func (c *Chain) writable(id uint16, mem []byte) {
	c.id, c.slots, c.wrote = id, 1, 0
	c.in.head, c.in.rest = c.in.head[:0], 0
	c.out.head, c.out.rest = mem, 0
}

// add appends a segment to in or out. All of in come before those of out.
func (c *Chain) add(s *stream, seg []byte) {
	if len(s.head) == 0 {
		s.head, s.next = seg, len(c.segs)
		return
	}
	c.segs = append(c.segs, seg)
	s.rest += len(seg)
}

// Readable returns the number of bytes that are still to be read.
func (c *Chain) Readable() int { return len(c.in.head) + c.in.rest }

// Writable returns the number of bytes that can still be written.
func (c *Chain) Writable() int { return len(c.out.head) + c.out.rest }

// Written returns the number of bytes that went through Write, or that Wrote told of.
func (c *Chain) Written() int { return c.wrote }

// Read copies the next bytes to p and returns how many there were: len(p) unless the stream ends first.
func (c *Chain) Read(p []byte) int {
	n := 0
	for n < len(p) && len(c.in.head) > 0 {
		k := copy(p[n:], c.in.head)
		c.in.advance(k, c.segs)
		n += k
	}
	return n
}

// Write copies p to the next bytes and returns how many fitted.
func (c *Chain) Write(p []byte) int {
	n := 0
	for n < len(p) && len(c.out.head) > 0 {
		k := copy(c.out.head, p[n:])
		c.out.advance(k, c.segs)
		n += k
	}
	c.wrote += n
	return n
}

// ReadHead returns the next readable bytes as far as they are in one piece, without consuming them; none only at the end.
// It is guest memory: what is read there twice may differ.
func (c *Chain) ReadHead() []byte { return c.in.head }

// WriteHead is ReadHead for the writable bytes. Tell with Wrote what was written there.
func (c *Chain) WriteHead() []byte { return c.out.head }

// Wrote consumes n bytes of what WriteHead returned, as Write does.
func (c *Chain) Wrote(n int) {
	c.wrote += n
	c.out.advance(n, c.segs)
}

// Filled tells that the first n bytes of WriteHead, and nothing else, were written, and nothing more will be. It is Wrote for
// who is done with the chain.
func (c *Chain) Filled(n int) { c.wrote = n }

// ReadSegments appends the memory of the next n readable bytes to dst, skipping the first skip, without consuming them.
// It returns less where the stream ends first.
func (c *Chain) ReadSegments(dst [][]byte, skip, n int) [][]byte {
	return c.in.slice(dst, skip, n, c.segs)
}

// WriteSegments is ReadSegments for the writable bytes.
func (c *Chain) WriteSegments(dst [][]byte, skip, n int) [][]byte {
	return c.out.slice(dst, skip, n, c.segs)
}

func (s *stream) advance(n int, segs [][]byte) {
	s.head = s.head[n:]
	if len(s.head) == 0 && s.rest > 0 {
		s.head = segs[s.next]
		s.next++
		s.rest -= len(s.head)
	}
}

func (s *stream) slice(dst [][]byte, skip, n int, segs [][]byte) [][]byte {
	seg, rest, next := s.head, s.rest, s.next
	for n > 0 {
		if skip < len(seg) {
			k := min(n, len(seg)-skip)
			dst, n = append(dst, seg[skip:skip+k:skip+k]), n-k
		}
		skip = max(0, skip-len(seg))
		if rest == 0 {
			break
		}
		seg = segs[next]
		next, rest = next+1, rest-len(seg)
	}
	return dst
}
