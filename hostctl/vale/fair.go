package vale

// Fairness between the ports of a switch that has more than two. A port may use the switch's time as it likes while the others
// want none of it. Otherwise it has to wait, after what it used, until the others have used as much; and after work that was of
// no use, until they have used many times as much. So a port cannot take the others' time by frames that are hard to work,
// and little of it by frames that are dropped or go to all.

const (
	// penalty is by how much more than its time useless work costs: a port that does nothing else has a tenth of the switch.
	penalty = 9
	// slack is what a port may have used more than the others before it waits, in nanoseconds: more than an ordinary batch takes.
	slack = 5000
)

// account is what a port has used, and owes the others. Times are in nanoseconds.
type account struct {
	used    int64  // by this port
	wait    int64  // until the others have used so much
	listed  int    // frames of this round whose delivery is still to come
	refused uint64 // frames that others did not take
	useless uint64 // frames of no use, as seen last
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
	at := s.waker.clock()
	for _, m := range s.members {
		if m.removed {
			continue
		}
		if m.owes.wait > s.used-m.owes.used+slack {
			waited = true
			continue
		}
		if n := s.receive(m); n > 0 {
			now := s.waker.clock()
			s.charge(m, now-at, n)
			moved, at = moved+n, now
		}
	}
	return moved, waited
}

// charge has a port owe the others the time that n of its frames took.
func (s *Switch) charge(m *member, took int64, n int) {
	a, now := &m.owes, m.uselessness()
	useless := min(int64(now-a.useless), int64(n))
	a.useless = now
	s.used, a.used = s.used+took, a.used+took
	a.wait = max(a.wait, s.used-a.used) + took + penalty*took*useless/int64(n)
}

// settle charges the second half of a round, which took so long, to those whose frames were delivered in it, as if they were
// of the use that those of the first half were.
func (s *Switch) settle(took int64) {
	all := 0
	for _, m := range s.members {
		all += m.owes.listed
	}
	for _, m := range s.members {
		if n := m.owes.listed; n > 0 {
			s.charge(m, took*int64(n)/int64(all), n)
			m.owes.listed = 0
		}
	}
}
