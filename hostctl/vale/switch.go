package vale

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// MaxPorts is the greatest number of ports of a switch.
const MaxPorts = 254

// Errors of a switch and of a Set.
var (
	ErrExist   = errors.New("port exists")
	ErrUnknown = errors.New("no such port")
	ErrFull    = errors.New("switch has all its ports")
	ErrClosed  = errors.New("switch is closed")
)

// Options change a Switch. The zero value is good.
type Options struct {
	Logf func(format string, args ...any) // ports that end; may be nil
	CPU  int                              // 1 + number of the CPU to run on; 0: any
}

// Switch is a learning switch. Its methods may be called from any goroutine; they take effect between two rounds of the
// switch's work.
type Switch struct {
	opt    Options
	waker  *waker
	spins  bool         // there is more than one CPU, so spinning can help
	want   atomic.Int32 // how many wait for mu
	mu     sync.Mutex   // held by the worker while it works
	calm   sync.Cond    // want went down
	closed bool
	worker sync.WaitGroup
	ending sync.WaitGroup // Close of ports that failed

	// Guarded by mu.
	table   *table
	members []*member
	byID    [256]*member
	ids     int       // where to look for a free id
	lines   []*member // whose line is bad
	mirror  Sink
	ticked  int64 // when the table was
	scratch scratch
	store   store
	failed  []*member // to be closed
	lent    []*member // whose frames are to be given back in this round
	pace    pace
	used    int64 // by all ports; see account
	free    bool  // nobody has to wait, for tests that look at single rounds
}

// New returns a switch without ports, which works until Close.
func New(opt Options) (*Switch, error) {
	s, err := newSwitch(opt)
	if err != nil {
		return nil, err
	}
	s.worker.Go(s.run)
	return s, nil
}

// newSwitch returns a switch that nobody works.
func newSwitch(opt Options) (*Switch, error) {
	if opt.Logf == nil {
		opt.Logf = func(string, ...any) {}
	}
	w, err := newWaker()
	if err != nil {
		return nil, fmt.Errorf("make switch: %w", err)
	}
	s := &Switch{opt: opt, waker: w, table: newTable(), spins: runtime.NumCPU() > 1}
	s.calm.L = &s.mu
	return s, nil
}

// lock takes the switch from its worker for a moment.
func (s *Switch) lock() {
	s.want.Add(1)
	s.waker.Wake()
	s.mu.Lock()
}

func (s *Switch) unlock() {
	s.want.Add(-1)
	s.calm.Broadcast()
	s.mu.Unlock()
}

// Attach adds a port and starts it. From then on the port is the switch's, to be closed by Detach or Close, or when it
// fails. If Attach fails it is still the caller's.
func (s *Switch) Attach(name string, p Port) error {
	s.lock()
	defer s.unlock()
	switch {
	case s.closed:
		return fmt.Errorf("attach port %s: %w", name, ErrClosed)
	case s.member(name) != nil:
		return fmt.Errorf("attach port %s: %w", name, ErrExist)
	case len(s.members) == MaxPorts:
		return fmt.Errorf("attach port %s: %w", name, ErrFull)
	}
	if err := p.Start(s.waker); err != nil {
		return fmt.Errorf("attach port %s: %w", name, err)
	}
	s.add(name, p)
	return nil
}

func (s *Switch) add(name string, p Port) {
	for s.byID[s.ids] != nil {
		s.ids = (s.ids + 1) % MaxPorts
	}
	m := &member{id: uint8(s.ids), name: name, port: p, up: true}
	m.lender, _ = p.(Lender)
	s.byID[s.ids] = m
	s.members = append(s.members, m)
	s.sort()
	s.ids = (s.ids + 1) % MaxPorts // an id in use lately may be in somebody's head
}

func (s *Switch) member(name string) *member {
	for _, m := range s.members {
		if m.name == name {
			return m
		}
	}
	return nil
}

// Detach removes a port and closes it.
func (s *Switch) Detach(name string) error {
	s.lock()
	m := s.member(name)
	if m != nil {
		s.remove(m)
	}
	s.unlock()
	if m == nil {
		return fmt.Errorf("detach port %s: %w", name, ErrUnknown)
	}
	if err := m.port.Close(); err != nil {
		return fmt.Errorf("close port %s: %w", name, err)
	}
	return nil
}

// remove takes a port out. Nothing of it is used any more afterwards.
func (s *Switch) remove(m *member) {
	kept := make([]*member, 0, len(s.members)) // the worker may be ranging over the old one
	for _, o := range s.members {
		if o != m {
			kept = append(kept, o)
		}
	}
	s.members, s.byID[m.id] = kept, nil
	m.removed = true
	s.table.drop(m.id) // and so what others remember of the table
	s.sort()
}

// Close detaches all ports, closes them and ends the switch.
func (s *Switch) Close() error {
	s.lock()
	if s.closed {
		s.unlock()
		return nil
	}
	members := s.members
	for _, m := range members {
		s.remove(m)
	}
	s.closed = true
	s.unlock()
	s.worker.Wait()
	var errs []error
	for _, m := range members {
		if err := m.port.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close port %s: %w", m.name, err))
		}
	}
	s.ending.Wait()
	return errors.Join(append(errs, s.waker.close())...)
}

// Len returns the number of ports.
func (s *Switch) Len() int {
	s.lock()
	defer s.unlock()
	return len(s.members)
}
