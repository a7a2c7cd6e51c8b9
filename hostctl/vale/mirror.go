package vale

import "time"

// A Sink is given copies of what passes. Its method is called by the switch, and must not wait; the frame is good until it
// returns.
type Sink interface {
	// Frame tells of a frame from a port, or to it.
	Frame(port string, to bool, at time.Time, f *Frame)
}

// Mirror shows sink all frames that come from a port and that go to it, with name "" those that come from any port, so
// each frame once. nil ends it: after the return sink is not called any more.
func (s *Switch) Mirror(name string, sink Sink) error {
	if name == "" {
		s.lock()
		defer s.unlock()
		s.mirror = sink
		s.sort()
		return nil
	}
	return s.change("mirror", name, func(m *member) {
		m.mirror = sink
		s.sort()
	})
}

// show gives frames to a sink.
func show(sink Sink, port string, to bool, frames []Frame) {
	if sink == nil {
		return
	}
	now := time.Now()
	for i := range frames {
		sink.Frame(port, to, now, &frames[i])
	}
}
