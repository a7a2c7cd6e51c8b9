package vale

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Prefix begins the name of every switch.
const Prefix = "vale"

// ErrName means that a name is not of the form valeSWITCH:PORT.
var ErrName = errors.New("bad name of a port")

// Split cuts the name of a port, "vale0:1", into those of its switch, "vale0", and of the port in it, "1". The switch's is
// "vale" and any number of letters, digits and underscores; the port's is not empty.
func Split(name string) (sw, port string, err error) {
	sw, port, _ = strings.Cut(name, ":")
	id, ok := strings.CutPrefix(sw, Prefix)
	bad := func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	if !ok || port == "" || strings.ContainsFunc(id, bad) {
		return "", "", fmt.Errorf("%w: %q is not of the form valeSWITCH:PORT", ErrName, name)
	}
	return sw, port, nil
}

// Set holds switches by name. A switch exists from its first port to its last. The zero value is an empty set.
type Set struct {
	Options Options // of new switches

	mu       sync.Mutex
	switches map[string]*Switch
	closed   bool
}

// Attach adds a port under its full name; see Switch.Attach.
func (s *Set) Attach(name string, p Port) error {
	sw, port, err := Split(name)
	if err != nil {
		return fmt.Errorf("attach port: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("attach port %s: %w", name, ErrClosed)
	}
	t := s.switches[sw]
	if t == nil {
		if t, err = New(s.Options); err != nil {
			return fmt.Errorf("attach port %s: %w", name, err)
		}
	}
	if err := t.Attach(port, p); err != nil {
		return errors.Join(err, s.reap(sw, t))
	}
	if s.switches == nil {
		s.switches = map[string]*Switch{}
	}
	s.switches[sw] = t
	return nil
}

// Detach removes a port by its full name and closes it.
func (s *Set) Detach(name string) error {
	sw, port, err := Split(name)
	if err != nil {
		return fmt.Errorf("detach port: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.switches[sw]
	if t == nil {
		return fmt.Errorf("detach port %s: %w", name, ErrUnknown)
	}
	return errors.Join(t.Detach(port), s.reap(sw, t))
}

// reap ends a switch that has no ports.
func (s *Set) reap(name string, t *Switch) error {
	if t.Len() > 0 {
		return nil
	}
	delete(s.switches, name)
	return t.Close()
}

// Switch returns a switch by name, or nil.
func (s *Set) Switch(name string) *Switch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.switches[name]
}

// Names returns the switches in order. Those whose last port has failed end here.
func (s *Set) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, t := range s.switches {
		if err := s.reap(name, t); err != nil {
			t.opt.Logf("end switch %s: %v", name, err)
		}
	}
	return slices.Sorted(maps.Keys(s.switches))
}

// Close ends all switches. Nothing can be attached any more.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var errs []error
	for _, t := range s.switches {
		errs = append(errs, t.Close())
	}
	clear(s.switches)
	return errors.Join(errs...)
}
