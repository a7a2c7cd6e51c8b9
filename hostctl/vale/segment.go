package vale

import "encoding/binary"

// What a port does not take is completed here: offloaded checksums, and packets to be cut into segments.

// store is memory for the frames that the switch makes, good until the frames in it were delivered.
type store struct {
	bytes  []byte
	frames []Frame
	full   bool // the port takes nothing more
}

// maxSegments is into how many a packet is cut at most: 64 KiB at the least segment size of Linux (TCP_MIN_MSS). More is
// what somebody does who wants us to be busy.
const maxSegments = 65536 / 48

// storeRoom is for some of the longest frames, headers of their segments included.
const storeRoom = 4 * MaxFrame

// copy takes a copy of b.
func (st *store) copy(b []byte) []byte {
	out := st.take(len(b))
	copy(out, b)
	return out
}

// take returns n fresh bytes, which must fit.
func (st *store) take(n int) []byte {
	at := len(st.bytes)
	st.bytes = st.bytes[: at+n : cap(st.bytes)]
	return st.bytes[at : at+n : at+n]
}

// complete delivers frames of which some need more than the port takes.
func (s *Switch) complete(m *member, frames []Frame, takes Offloads) {
	st := &s.store
	if st.bytes == nil {
		st.bytes, st.frames = make([]byte, 0, storeRoom), make([]Frame, 0, MaxBatch)
	}
	st.full = false
	for i := range frames {
		s.finish(m, &frames[i], takes)
	}
	s.emit(m)
}

// emit delivers what is in the store.
func (s *Switch) emit(m *member) {
	s.part(m)
	s.store.bytes = s.store.bytes[:0]
}

// part delivers the frames of the store, and leaves their bytes.
func (s *Switch) part(m *member) {
	st := &s.store
	if len(st.frames) > 0 && s.send(m, st.frames) == 0 {
		st.full = true
	}
	st.frames = st.frames[:0]
}

// append adds a frame to those to be delivered. Its memory may be in the store, of which emit would take it away: whoever
// fills the store sees to it, with reserve, that there is room before.
func (s *Switch) append(m *member, f Frame) {
	if len(s.store.frames) == MaxBatch {
		s.part(m)
	}
	s.store.frames = append(s.store.frames, f)
}

// reserve makes room for n bytes in the store.
func (s *Switch) reserve(m *member, n int) {
	if cap(s.store.bytes)-len(s.store.bytes) < n {
		s.emit(m)
	}
}

// finish does for a frame what the port does not.
func (s *Switch) finish(m *member, f *Frame, takes Offloads) {
	need, _ := f.Header.needs(len(f.Data))
	switch {
	case need&^takes == 0:
		s.append(m, *f)
	case f.Header.GSOType == GSONone:
		s.reserve(m, len(f.Data))
		m.count.ToChecksums++
		data := s.store.copy(f.Data)
		putChecksum(data, int(f.Header.CsumStart), int(f.Header.CsumOffset))
		s.append(m, Frame{Data: data})
	default:
		s.segment(m, f)
	}
}

// cut is a packet taken apart.
type cut struct {
	l3, l4, payload int // where they begin
	v6, udp         bool
}

// dissect finds the parts of a packet to be segmented, and whether it is one.
func dissect(f *Frame) (c cut, ok bool) {
	b, h := f.Data, &f.Header
	c.l3 = 14
	for len(b) >= c.l3+4 && isVLAN(b[c.l3-2:]) {
		c.l3 += 4
	}
	c.l4 = int(h.CsumStart)
	ethertype := binary.BigEndian.Uint16(b[c.l3-2:])
	kind := h.GSOType &^ GSOECN
	c.v6, c.udp = ethertype == 0x86dd, kind == GSOUDP
	header := 20
	if c.v6 {
		header = 40
	}
	if c.l4 < c.l3+header || len(b) < c.l4+8 || (!c.v6 && ethertype != 0x0800) {
		return c, false
	}
	if c.udp {
		c.payload = c.l4 + 8
		return c, h.CsumOffset == 6
	}
	if len(b) < c.l4+20 || c.v6 != (kind == GSOTCPv6) || h.CsumOffset != 16 {
		return c, false
	}
	c.payload = c.l4 + int(b[c.l4+12]>>4)*4
	return c, c.payload >= c.l4+20 && c.payload <= len(b)
}

func isVLAN(ethertype []byte) bool {
	t := binary.BigEndian.Uint16(ethertype)
	return t == 0x8100 || t == 0x88a8
}

// segment cuts a packet into those that it stands for.
func (s *Switch) segment(m *member, f *Frame) {
	c, ok := dissect(f)
	size, total := int(f.Header.GSOSize), len(f.Data)-c.payload
	if !ok || total > maxSegments*size {
		m.count.ToOffload++
		return
	}
	for at := 0; at < total || at == 0; at += size {
		if s.store.full { // making the others would be for nothing
			m.count.ToSegments++
			m.count.ToFull++
			continue
		}
		n := min(size, total-at)
		s.reserve(m, c.payload+n)
		seg := s.store.take(c.payload + n)
		copy(seg, f.Data[:c.payload])
		copy(seg[c.payload:], f.Data[c.payload+at:])
		c.fix(seg, at, at/size, at+n == total)
		m.count.ToSegments++
		s.append(m, Frame{Data: seg})
	}
}

// fix makes the headers of a segment right. It is number index, and its payload begins at byte at of the whole.
func (c cut) fix(seg []byte, at, index int, last bool) {
	ip, l4 := seg[c.l3:], seg[c.l4:]
	if c.v6 {
		binary.BigEndian.PutUint16(ip[4:], uint16(len(seg)-c.l3-40))
	} else {
		binary.BigEndian.PutUint16(ip[2:], uint16(len(seg)-c.l3))
		binary.BigEndian.PutUint16(ip[4:], binary.BigEndian.Uint16(ip[4:])+uint16(index))
		binary.BigEndian.PutUint16(ip[10:], 0)
		binary.BigEndian.PutUint16(ip[10:], ^fold(sum(ip[:c.l4-c.l3], 0)))
	}
	offset := 16
	if c.udp {
		binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
		offset = 6
	} else {
		c.fixTCP(l4, at, index, last)
	}
	// The sum of the pseudo header, which says how long this segment is.
	binary.BigEndian.PutUint16(l4[offset:], fold(c.pseudo(ip, len(l4))))
	putChecksum(seg, c.l4, offset)
}

// Flags in byte 13 of a TCP header.
const (
	tcpFIN = 1 << 0
	tcpPSH = 1 << 3
	tcpCWR = 1 << 7
)

func (c cut) fixTCP(l4 []byte, at, index int, last bool) {
	binary.BigEndian.PutUint32(l4[4:], binary.BigEndian.Uint32(l4[4:])+uint32(at))
	if !last {
		l4[13] &^= tcpFIN | tcpPSH
	}
	if index > 0 {
		l4[13] &^= tcpCWR
	}
}

// pseudo sums the pseudo header for a TCP or UDP packet of n bytes.
func (c cut) pseudo(ip []byte, n int) uint64 {
	protocol := uint64(6)
	if c.udp {
		protocol = 17
	}
	if c.v6 {
		return sum(ip[8:40], protocol+uint64(n))
	}
	return sum(ip[12:20], protocol+uint64(n))
}
