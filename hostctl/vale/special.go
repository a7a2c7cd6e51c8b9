package vale

// Ports of which something special is asked: a rate, a bad line, a mirror. The others do not pay for it.

// sort finds out which ports are special.
func (s *Switch) sort() {
	s.lines = s.lines[:0]
	for _, m := range s.members {
		m.special = m.rate != nil || m.line != nil || m.mirror != nil || s.mirror != nil
		if m.line != nil {
			s.lines = append(s.lines, m)
		}
	}
}

// receiveSpecial takes a batch from a special port.
func (s *Switch) receiveSpecial(m *member, batch []Frame) (int, error) {
	if m.rate != nil {
		ok, when := m.rate.ready(s.waker.clock())
		if !ok {
			s.waker.deadline = min(s.waker.deadline, when)
			return 0, nil
		}
		batch = batch[:min(m.rate.most(), len(batch))]
	}
	n, err := s.callReceive(m, batch)
	if m.rate != nil {
		m.rate.take(batch[:n])
	}
	show(m.mirror, m.name, false, batch[:n])
	show(s.mirror, m.name, false, batch[:n])
	return n, err
}

// deliverSpecial gives frames to a special port.
func (s *Switch) deliverSpecial(m *member, frames []Frame) {
	if m.line == nil {
		s.deliverPlain(m, frames)
		return
	}
	s.pour(m, m.line.carry(frames, s.waker.clock(), &m.count))
}

// arrivals delivers what was under way on bad lines, and sees to it that the next is not slept over.
func (s *Switch) arrivals() (moved int) {
	now := s.waker.clock()
	for _, m := range s.lines {
		if m.removed {
			continue
		}
		frames, next := m.line.arrive(now)
		s.pour(m, frames)
		moved += len(frames)
		s.waker.deadline = min(s.waker.deadline, next)
	}
	return moved
}

// pour delivers any number of frames.
func (s *Switch) pour(m *member, frames []Frame) {
	for len(frames) > 0 {
		n := min(len(frames), MaxBatch)
		s.deliverPlain(m, frames[:n])
		frames = frames[n:]
	}
}
