package vale

import "encoding/binary"

// listRoom is how many frames a port's list holds before it is flushed in the middle of a round.
const listRoom = 1024

// member is a port of a switch. All of it is the worker's.
type member struct {
	// For each frame:
	lastSrc, lastDst uint64 // as last seen, 0 for none
	dest             *member
	moves            uint64 // the table's when these held
	id               uint8
	up, removed      bool
	special          bool // see special.go
	listed           bool // in scratch.touched
	list             []Frame

	name   string
	port   Port
	lender Lender // port, if it is one
	count  Counters

	rate   *rate
	line   *line
	mirror Sink
	owes   account
	takes  Offloads // as asked last
}

// scratch is memory for a round.
type scratch struct {
	batch   [MaxBatch]Frame
	dest    [MaxBatch]*member // nil: none; everybody: all
	touched []*member         // have a list
}

// everybody stands for all ports but the one a frame came from.
var everybody = new(member)

// round takes a batch from each port and gives each its share. It returns how many frames were moved.
func (s *Switch) round() (moved int) {
	s.pace.rounds++
	s.waker.deadline = never
	if s.pace.rounds%clockRounds == 0 {
		s.age()
	}
	if len(s.lines) > 0 {
		moved += s.arrivals()
	}
	if len(s.members) > 2 && !s.free {
		moved += s.takeTurns()
	} else {
		for _, m := range s.members {
			if !m.removed {
				moved += s.receive(m)
			}
		}
	}
	if len(s.scratch.touched) > 0 {
		s.flushAll()
	}
	if len(s.lent) > 0 {
		s.giveBack()
	}
	if s.failed != nil {
		s.bury()
	}
	return moved
}

// giveBack ends what was lent for a round.
func (s *Switch) giveBack() {
	for _, m := range s.lent {
		s.callReturn(m)
	}
	s.lent = s.lent[:0]
}

// flushAll is the second half of a round: each port is given what is listed for it.
func (s *Switch) flushAll() {
	for len(s.scratch.touched) > 0 {
		t := s.scratch.touched
		m := t[len(t)-1]
		s.scratch.touched = t[:len(t)-1]
		m.listed = false
		s.flush(m)
	}
}

// clockRounds is how often, in rounds, the clock is looked at; a sleep counts as that many.
const clockRounds = 1024

// age lets the table's entries age.
func (s *Switch) age() {
	if now := s.waker.clock(); now-s.ticked >= tickEvery {
		s.ticked = now
		s.table.tick()
	}
}

// receive takes a batch from a port and lists it.
func (s *Switch) receive(m *member) int {
	batch := s.scratch.batch[:]
	n, err := 0, error(nil)
	if m.special {
		n, err = s.receiveSpecial(m, batch)
	} else {
		n, err = s.callReceive(m, batch)
	}
	if err != nil {
		s.fail(m, err)
		return 0
	}
	if n == 0 {
		return 0
	}
	if m.lender != nil {
		s.lent = append(s.lent, m)
	}
	batch = batch[:n]
	if !m.up {
		m.hush(batch)
		return n
	}
	only := s.classify(m, batch)
	if only == everybody && len(s.members) == 2 {
		only = s.other(m)
		m.count.FromFlooded += uint64(n)
	}
	if only != nil && only != everybody {
		s.deliverAll(m, only, batch)
		return n
	}
	for i := range batch {
		switch d := s.scratch.dest[i]; d {
		case nil:
		case everybody:
			s.flood(m, &batch[i])
		default:
			s.enlist(d, &batch[i])
		}
	}
	return n
}

// other returns the other one of two ports.
func (s *Switch) other(m *member) *member {
	if s.members[0] == m {
		return s.members[1]
	}
	return s.members[0]
}

// hush counts what came over a link that is down.
func (m *member) hush(batch []Frame) {
	for i := range batch {
		m.count.FromBytes += uint64(len(batch[i].Data))
	}
	m.count.FromFrames += uint64(len(batch))
	m.count.FromDown += uint64(len(batch))
}

// deliverAll is for a batch that goes to one port, which needs no list unless it has one already.
func (s *Switch) deliverAll(from, m *member, batch []Frame) {
	if !m.listed {
		before := m.count.ToFull
		s.deliver(m, batch)
		from.owes.refused += m.count.ToFull - before
		return
	}
	for i := range batch {
		s.enlist(m, &batch[i])
	}
}

// classify is the first pass: it finds out where each frame of a batch goes. It returns where all of them go, or nil.
func (s *Switch) classify(m *member, batch []Frame) (only *member) {
	c, t := &m.count, s.table
	if m.moves != t.moves {
		m.lastSrc, m.lastDst, m.moves = 0, 0, t.moves
	}
	bytes, same := 0, true
	dests := s.scratch.dest[:len(batch)]
	for i := range batch {
		f := &batch[i]
		bytes += len(f.Data)
		d := m.dest
		if !m.again(f) {
			d = s.route(m, f)
		}
		dests[i] = d
		same = same && d == dests[0]
	}
	c.FromFrames += uint64(len(batch))
	c.FromBytes += uint64(bytes)
	if same {
		return dests[0]
	}
	return nil
}

// again reports whether a frame is good and goes from where to where the one before went, and needs nothing but m.dest.
func (m *member) again(f *Frame) bool {
	b := f.Data
	if uint(len(b)-etherSize) > MaxFrame-etherSize || f.Header.Flags|f.Header.GSOType != 0 {
		return false
	}
	a, c := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[4:])
	return a<<16 == m.lastDst<<16 && c>>16 == m.lastSrc && m.lastDst != 0 && m.dest != m
}

// route finds out where a frame goes, and learns where it came from.
func (s *Switch) route(m *member, f *Frame) *member {
	b := f.Data
	if len(b) < etherSize || len(b) > MaxFrame {
		m.count.FromBad++
		return nil
	}
	dst := binary.LittleEndian.Uint64(b) & (1<<48 - 1)
	src := binary.LittleEndian.Uint64(b[4:]) >> 16
	if f.Header.Flags|f.Header.GSOType != 0 {
		if _, ok := f.Header.needs(len(b)); !ok {
			m.count.FromBad++
			return nil
		}
	}
	if src != m.lastSrc {
		s.learn(m, src)
	}
	if dst != m.lastDst || dst == 0 {
		m.lastDst, m.dest = dst, s.find(dst)
	}
	if m.dest == m {
		m.count.FromFiltered++
		return nil
	}
	m.toCut(f, m.dest)
	return m.dest
}

func (s *Switch) learn(m *member, src uint64) {
	m.lastSrc = src
	if s.table.learn(src, m.id) {
		m.lastDst, m.moves = 0, s.table.moves
	}
}

// find returns who has an address.
func (s *Switch) find(dst uint64) *member {
	if dst&multicast == 0 {
		if id, ok := s.table.lookup(dst); ok {
			return s.byID[id]
		}
	}
	return everybody
}

// flood lists a frame for all ports but one.
func (s *Switch) flood(from *member, f *Frame) {
	if len(s.members) < 2 {
		from.count.FromFiltered++
		return
	}
	from.count.FromFlooded++
	from.owes.copies += len(s.members) - 2
	for _, m := range s.members {
		if m != from {
			s.enlist(m, f)
		}
	}
}

// enlist is what the second pass works on.
func (s *Switch) enlist(m *member, f *Frame) {
	if !m.listed {
		m.listed = true
		s.scratch.touched = append(s.scratch.touched, m)
	}
	if len(m.list) == cap(m.list) {
		s.makeRoom(m)
	}
	m.list = append(m.list, *f)
}

func (s *Switch) makeRoom(m *member) {
	if m.list == nil {
		m.list = make([]Frame, 0, listRoom)
		return
	}
	s.flush(m)
}

// flush gives a port what is listed for it.
func (s *Switch) flush(m *member) {
	for list := m.list; len(list) > 0; {
		n := min(len(list), MaxBatch)
		s.deliver(m, list[:n])
		list = list[n:]
	}
	m.list = m.list[:0]
}

// deliver gives at most MaxBatch frames to a port.
func (s *Switch) deliver(m *member, frames []Frame) {
	switch {
	case m.removed:
	case !m.up:
		m.count.ToDown += uint64(len(frames))
	case m.special:
		show(m.mirror, m.name, true, frames)
		s.deliverSpecial(m, frames)
	default:
		s.deliverPlain(m, frames)
	}
}

// deliverPlain is deliver for a port whose line is good.
func (s *Switch) deliverPlain(m *member, frames []Frame) {
	if offloaded(frames) {
		m.takes = s.callOffloads(m)
		s.complete(m, frames, m.takes)
		return
	}
	s.send(m, frames)
}

// offloaded reports whether anything is to be done for one of the frames.
func offloaded(frames []Frame) bool {
	all := uint8(0)
	for i := range frames {
		all |= frames[i].Header.Flags
	}
	return all != 0
}

// send gives complete frames to a port, at most MaxBatch, and returns how many it took.
func (s *Switch) send(m *member, frames []Frame) int {
	if m.removed {
		return 0
	}
	n, bytes := s.callSend(m, frames)
	c := &m.count
	c.ToFrames += uint64(n)
	c.ToBytes += uint64(bytes)
	c.ToFull += uint64(len(frames) - n)
	return n
}
