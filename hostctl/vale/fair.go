package vale

// Fairness between the ports of a switch that has more than two. A port may use the switch's time as it likes while the others
// want none of it. Otherwise it has to wait, after what it used, until the others have used as much; and after work that was of
// no use, until they have used many times as much. So a port cannot take the others' time by frames that are hard to work,
// and little of it by frames that are dropped or go to all.
//
// Time is what the work takes about, by its kind: looking at the clock would cost as much as a frame, and count what other
// programs take of the CPU in between.

// What work takes, in picoseconds: as measured on a processor of 2024, where only the proportions matter.
const (
	frameTime   = 15_000 // a frame, by a port that it is sent to
	byteTime    = 50     // each byte of it
	segmentTime = 80_000 // to make a segment
)

const (
	// penalty is by how much more than its time useless work costs: a port that does nothing else has a tenth of the switch.
	penalty = 9
	// slack is what a port may have used more than the others before it waits: a batch of full frames.
	slack = MaxBatch * (frameTime + 1514*byteTime)
)

// account is what a port has used, and owes the others, in picoseconds.
type account struct {
	used     int64  // by this port
	wait     int64  // until the others have used so much
	copies   int    // of frames of this round to further ports
	segments int    // of this round, to be made
	refused  uint64 // frames that others did not take
	useless  uint64 // frames of no use, as seen last
}

// uselessness is how many frames of a port were of no use so far.
func (m *member) uselessness() uint64 {
	c := &m.count
	return c.FromBad + c.FromDown + c.FromFiltered + c.FromFlooded + m.owes.refused
}

// takeTurns is the first half of a round, of a switch with others to be fair to.
func (s *Switch) takeTurns() int {
	moved, waited := s.turn()
	if moved > 0 || !waited {
		return moved
	}
	for _, m := range s.members { // nobody else wants the time
		m.owes.wait = 0
	}
	moved, _ = s.turn()
	return moved
}

// turn takes a batch from each port that does not have to wait.
func (s *Switch) turn() (moved int, waited bool) {
	for _, m := range s.members {
		if m.removed {
			continue
		}
		if m.owes.wait > s.used-m.owes.used+slack {
			waited = true
			continue
		}
		before := m.count.FromBytes
		if n := s.receive(m); n > 0 {
			s.charge(m, n, int(m.count.FromBytes-before))
			moved += n
		}
	}
	return moved, waited
}

// charge has a port owe the others what n of its frames took, of so many bytes in all.
func (s *Switch) charge(m *member, n, bytes int) {
	a, now := &m.owes, m.uselessness()
	useless := min(int64(now-a.useless), int64(n))
	took := int64(n*frameTime+bytes*byteTime)*int64(n+a.copies)/int64(n) + int64(a.segments*segmentTime)
	a.useless, a.copies, a.segments = now, 0, 0
	s.used, a.used = s.used+took, a.used+took
	a.wait = max(a.wait, s.used-a.used) + took + penalty*took*useless/int64(n)
}

// toCut counts the segments that a frame is to be cut into for a port, as far as is known what that takes.
func (m *member) toCut(f *Frame, to *member) {
	if f.Header.GSOType == GSONone || to == nil || gsoNeeds(f.Header.GSOType)&^to.takes == 0 {
		return
	}
	m.owes.segments += min(len(f.Data)/int(f.Header.GSOSize)+1, maxSegments) // GSOSize is not 0: see Header.needs
}
