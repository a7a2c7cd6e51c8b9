package vale

import "fmt"

// The calls of a port's methods. A port that panics, also because memory of its peer is gone, is dropped: that is why
// each call has a recover of its own, so that what the switch was about to do for others goes on.

func (s *Switch) callReceive(m *member, frames []Frame) (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			n, err = 0, fmt.Errorf("receive: %v", r)
		}
	}()
	return m.port.Receive(frames)
}

func (s *Switch) callSend(m *member, frames []Frame) (n, bytes int) {
	defer s.guard(m, "send")
	return m.port.Send(frames)
}

func (s *Switch) callOffloads(m *member) Offloads {
	defer s.guard(m, "offloads")
	return m.port.Offloads()
}

func (s *Switch) callArm(m *member) (more bool) {
	defer s.guard(m, "arm")
	return m.port.Arm()
}

func (s *Switch) callReturn(m *member) {
	defer s.guard(m, "return")
	m.lender.Return()
}

// guard is deferred around a call.
func (s *Switch) guard(m *member, what string) {
	if r := recover(); r != nil {
		s.fail(m, fmt.Errorf("%s: %v", what, r))
	}
}

// fail drops a port that cannot go on. Frames in its memory may still be on their way to others, so it is closed later.
func (s *Switch) fail(m *member, err error) {
	if m.removed {
		return
	}
	s.opt.Logf("port %s is dropped: %v", m.name, err)
	s.remove(m)
	s.failed = append(s.failed, m)
}

// bury closes the ports that failed.
func (s *Switch) bury() {
	for _, m := range s.failed {
		s.ending.Go(func() {
			if err := m.port.Close(); err != nil {
				s.opt.Logf("close port %s: %v", m.name, err)
			}
		})
	}
	s.failed = nil
}
