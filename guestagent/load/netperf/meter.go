package netperf

import "time"

// meter measures what is around the calls of a test: time, CPU use, and the socket at its end.
type meter struct {
	began, ended  time.Time
	before        cpuSample
	use           Utilization
	send, receive int32 // buffers at the end, bytes
	retransmits   int32
	segment       int32
	congestion    string
}

func (m *meter) start(cpu bool) {
	m.use = unmeasured()
	if cpu {
		m.before, _ = sampleCPU()
	}
	m.began = time.Now()
}

// finish takes the last look at the socket; end is when the test was over.
func (m *meter) finish(s *socket, end time.Time) {
	m.ended = end
	if m.before != nil {
		after, _ := sampleCPU()
		m.use = after.since(m.before)
	}
	m.send, m.receive = s.buffers()
	m.retransmits, m.segment, m.congestion = s.retransmits(), s.segment(), s.congestion()
}

// elapsed is the length of the test, never 0 so that it can divide.
func (m *meter) elapsed() time.Duration { return max(m.ended.Sub(m.began), time.Microsecond) }
