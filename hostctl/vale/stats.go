package vale

import "fmt"

// Counters count since the port was attached. "From" is what the port gave to the switch, "to" what the switch gave to it.
type Counters struct {
	FromFrames   uint64 `json:"from_frames"` // all that came
	FromBytes    uint64 `json:"from_bytes"`
	FromBad      uint64 `json:"from_bad"`      // dropped: not 14 to MaxFrame bytes, or a header that makes no sense
	FromDown     uint64 `json:"from_down"`     // dropped: the link is down
	FromFiltered uint64 `json:"from_filtered"` // dropped: the destination is behind the port it came from, or nobody else is there
	FromFlooded  uint64 `json:"from_flooded"`  // of FromFrames: went to all ports
	ToFrames     uint64 `json:"to_frames"`     // as the port took them; segments made by the switch count each
	ToBytes      uint64 `json:"to_bytes"`
	ToFull       uint64 `json:"to_full"`      // dropped: the port had no room
	ToDown       uint64 `json:"to_down"`      // dropped: the link is down
	ToSegments   uint64 `json:"to_segments"`  // of those offered to the port: made by the switch
	ToChecksums  uint64 `json:"to_checksums"` // of those offered to the port: completed by the switch
	ToOffload    uint64 `json:"to_offload"`   // dropped: cannot be segmented, since it is no such packet
	Faults       uint64 `json:"faults"`       // frames that Faults lost, doubled, delayed, swapped or spoiled
}

// PortStats is a port's state.
type PortStats struct {
	Name      string `json:"name"`
	Up        bool   `json:"up"`
	Addresses int    `json:"addresses"` // learned
	Counters
}

// Stats is a switch's state.
type Stats struct {
	Ports     []PortStats `json:"ports"` // in the order they were attached
	Addresses int         `json:"addresses"`
	Rounds    uint64      `json:"rounds"` // over all ports
	Yields    uint64      `json:"yields"` // of the CPU
	Sleeps    uint64      `json:"sleeps"`
}

// Stats returns a consistent view of now.
func (s *Switch) Stats() Stats {
	s.lock()
	defer s.unlock()
	out := Stats{Addresses: s.table.len(), Rounds: s.pace.rounds, Yields: s.pace.yields, Sleeps: s.pace.sleeps}
	for _, m := range s.members {
		out.Ports = append(out.Ports, PortStats{m.name, m.up, s.table.owned[m.id], m.count})
	}
	return out
}

// SetLink takes a port's link up or down. Frames from and to a port that is down are dropped, and its addresses forgotten.
func (s *Switch) SetLink(name string, up bool) error {
	return s.change("set link of", name, func(m *member) {
		m.up = up
		if !up {
			s.table.drop(m.id)
		}
	})
}

// change works on a port.
func (s *Switch) change(what, name string, fn func(*member)) error {
	s.lock()
	defer s.unlock()
	m := s.member(name)
	if m == nil {
		return fmt.Errorf("%s port %s: %w", what, name, ErrUnknown)
	}
	fn(m)
	return nil
}
