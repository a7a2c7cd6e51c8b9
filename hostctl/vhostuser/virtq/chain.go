package virtq

// Chain is one buffer of the driver: bytes for the device to read, followed by room for it to write. Both are plain
// streams; how the driver cut them into descriptors does not show, so a header may have any shape (CVE-2022-2132).
// A Chain may be used for one Pop after the other, and then does not allocate. Its memory is the guest's: it may change
// at any time, and is the device's only until Push, Abort or Remap.
type Chain struct {
	id     uint16
	slots  uint16 // entries of a packed ring that it takes
	in     stream
	out    stream
	sawOut bool
	wrote  int    // bytes that went through Write
	spans  []span // where the writable bytes are, while they are logged
}

// span is a range of guest-physical addresses.
type span struct {
	addr uint64
	len  uint32
}

// stream is a position in a list of segments. A descriptor of length 0 leaves no segment.
type stream struct {
	segs [][]byte
	seg  int // current segment
	off  int // bytes of it already consumed
	left int // bytes to go
}

func (c *Chain) reset(id uint16) {
	c.id, c.slots, c.sawOut, c.wrote = id, 0, false, 0
	c.spans = c.spans[:0]
	c.in = stream{segs: c.in.segs[:0]}
	c.out = stream{segs: c.out.segs[:0]}
}

// Readable returns the number of bytes that are still to be read.
func (c *Chain) Readable() int { return c.in.left }

// Writable returns the number of bytes that can still be written.
func (c *Chain) Writable() int { return c.out.left }

// Read copies the next bytes to p and returns how many there were: len(p) unless the stream ends first.
func (c *Chain) Read(p []byte) int {
	n := 0
	for n < len(p) && c.in.left > 0 {
		k := copy(p[n:], c.in.head())
		c.in.advance(k)
		n += k
	}
	return n
}

// Write copies p to the next bytes and returns how many fitted.
func (c *Chain) Write(p []byte) int {
	n := 0
	for n < len(p) && c.out.left > 0 {
		k := copy(c.out.head(), p[n:])
		c.out.advance(k)
		n += k
	}
	c.wrote += n
	return n
}

// ReadSegments appends the memory of the next n readable bytes to dst, skipping the first skip, without consuming them.
// It returns less where the stream ends first.
func (c *Chain) ReadSegments(dst [][]byte, skip, n int) [][]byte { return c.in.slice(dst, skip, n) }

// WriteSegments is ReadSegments for the writable bytes.
func (c *Chain) WriteSegments(dst [][]byte, skip, n int) [][]byte { return c.out.slice(dst, skip, n) }

// head returns the rest of the current segment, which is never empty while left > 0.
func (s *stream) head() []byte { return s.segs[s.seg][s.off:] }

func (s *stream) advance(n int) {
	s.left -= n
	s.off += n
	if s.off == len(s.segs[s.seg]) {
		s.seg, s.off = s.seg+1, 0
	}
}

func (s *stream) slice(dst [][]byte, skip, n int) [][]byte {
	off := s.off
	for _, seg := range s.segs[s.seg:] {
		seg, off = seg[off:], 0
		if skip >= len(seg) {
			skip -= len(seg)
			continue
		}
		seg = seg[skip:]
		skip = 0
		k := min(n, len(seg))
		if k == 0 {
			break
		}
		dst, n = append(dst, seg[:k:k]), n-k
	}
	return dst
}
