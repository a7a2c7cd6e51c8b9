package memif

import (
	"crypto/subtle"
	"fmt"

	"golang.org/x/sys/unix"
)

// asServer lets a client introduce itself: memory, rings, and then the connection, each of which is acknowledged.
func (s *session) asServer() error {
	top := uint16(len(s.port.queues) - 1)
	h := hello{name: "picolab", min: version, max: version, maxRegion: maxRegions - 1, maxToClient: top, maxToServer: top, maxLog2: maxLog2}
	if err := s.send(h.encode()); err != nil {
		return err
	}
	m, err := s.expect(msgInit)
	if err != nil {
		return err
	}
	if err := s.admit(m.initial()); err != nil {
		return err
	}
	for placed := [2]int{}; ; {
		if err := s.send(newMessage(msgAck)); err != nil {
			return err
		}
		if m, err = s.receive(waitLimit); err != nil {
			return fmt.Errorf("wait for the client: %w", err)
		}
		switch m.kind() {
		case msgAddRegion:
			err = s.addRegion(m)
		case msgAddRing:
			err = s.addRing(m, &placed)
		case msgConnect:
			return s.complete(placed)
		case msgDisconnect:
			err = fmt.Errorf("peer disconnects: %q", m.text(6, reasonSize))
		default:
			err = fmt.Errorf("message %d: %w", m.kind(), errProtocol)
		}
		if err != nil {
			return err
		}
	}
}

// admit checks whether the client wants this interface and may have it.
func (s *session) admit(i initial) error {
	cfg := &s.port.cfg
	switch {
	case i.version != version:
		return fmt.Errorf("version %#x: %w", i.version, errProtocol)
	case i.id != cfg.ID:
		return fmt.Errorf("no interface %d: %w", i.id, errProtocol)
	case i.mode != 0:
		return fmt.Errorf("mode %d is not Ethernet: %w", i.mode, errProtocol)
	case cfg.Secret != "" && subtle.ConstantTimeCompare([]byte(i.secret), []byte(cfg.Secret)) != 1:
		return fmt.Errorf("wrong secret: %w", errProtocol)
	}
	return nil
}

func (s *session) addRegion(m *message) error {
	if int(m.u16(2)) != len(s.regions) || len(s.regions) == maxRegions {
		return fmt.Errorf("region %d after %d others: %w", m.u16(2), len(s.regions), errProtocol)
	}
	mem, err := mapRegion(s.fd, m.u64(4)) // the mapping does not need the descriptor
	if err != nil {
		return err
	}
	s.regions = append(s.regions, mem)
	return nil
}

// addRing takes a ring, and its descriptor for interrupts. They come in order.
func (s *session) addRing(m *message, placed *[2]int) error {
	a := m.addRing()
	n := &placed[0]
	if a.toServer {
		n = &placed[1]
	}
	if int(a.index) != *n || int(a.index) >= len(s.port.queues) || s.fd < 0 {
		return fmt.Errorf("ring %d after %d others: %w", a.index, *n, errProtocol)
	}
	r := &s.port.queues[a.index].to
	if a.toServer {
		r = &s.port.queues[a.index].from
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	err := guard(func() error { return r.locate(s.regions, a.region, a.offset, a.log2) })
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(s.fd, true); err != nil { // so that it cannot hold us up
		return fmt.Errorf("set up interrupts: %w", err)
	}
	r.fd = s.take()
	*n++
	return nil
}

// complete starts what the client has told of. Indices begin at 0, whatever the memory says.
func (s *session) complete(placed [2]int) error {
	n := min(placed[0], placed[1])
	if n == 0 {
		return fmt.Errorf("%d rings to the client, %d to the server: %w", placed[0], placed[1], errProtocol)
	}
	if err := s.start(n); err != nil {
		return err
	}
	return s.send(encodeName(msgConnected, s.port.cfg.Name))
}
