package vale

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"
)

// limit is how long anything may take here that does not hang.
const limit = 20 * time.Second

// working returns a switch at work, with pipes.
func working(t testing.TB, pipes int) (*Switch, []*Pipe) {
	t.Helper()
	s, err := New(Options{Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	var all []*Pipe
	for i := range pipes {
		all = append(all, NewPipe(0, 0))
		if err := s.Attach(fmt.Sprint(i), all[i].Port()); err != nil {
			t.Fatal(err)
		}
	}
	return s, all
}

// next waits for frames.
func next(t testing.TB, p *Pipe) []Frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	frames := make([]Frame, MaxBatch)
	for {
		if n := p.Read(frames); n > 0 {
			return frames[:n]
		}
		if err := p.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLive sends frames back and forth through a switch that sleeps in between.
func TestLive(t *testing.T) {
	s, p := working(t, 2)
	for i := range 50 {
		for from := range 2 {
			f := frame(uint32(2-from), uint32(from+1), 60+i)
			if p[from].Write([]Frame{f}) != 1 {
				t.Fatal("not written")
			}
			if got := next(t, p[1-from]); len(got) != 1 || !bytes.Equal(got[0].Data, f.Data) {
				t.Fatalf("round %d: %d frames", i, len(got))
			}
		}
	}
	if got := s.Stats(); got.Ports[0].FromFlooded != 1 || got.Ports[1].FromFlooded != 0 || got.Addresses != 2 {
		t.Errorf("%+v", got)
	}
}

func TestAttachRefuses(t *testing.T) {
	s, _ := working(t, 1)
	if err := s.Attach("0", NewPipe(0, 0).Port()); !errors.Is(err, ErrExist) {
		t.Error(err)
	}
	if err := s.Detach("1"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if err := s.SetLink("1", true); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	for i := 1; i < MaxPorts; i++ {
		if err := s.Attach(fmt.Sprint(i), &broken{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Attach("more", &broken{}); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Attach("more", &broken{}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestDetachEndsWait(t *testing.T) {
	s, p := working(t, 1)
	done := make(chan error, 1)
	go func() { done <- p[0].Wait(context.Background()) }()
	if err := s.Detach("0"); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// broken is a port that panics or fails in one of its methods, as told.
type broken struct {
	in     string
	closed chan struct{}
}

func (b *broken) Start(Waker) error { return nil }

func (b *broken) Receive([]Frame) (int, error) {
	b.maybe("receive")
	if b.in == "error" {
		return 0, errors.New("gone")
	}
	return 0, nil
}

func (b *broken) Send(f []Frame) (n, bytes int) {
	b.maybe("send")
	return 0, 0
}

func (b *broken) Offloads() Offloads {
	b.maybe("offloads")
	return 0
}

func (b *broken) Arm() bool {
	b.maybe("arm")
	return false
}

func (b *broken) Close() error {
	if b.closed != nil {
		close(b.closed)
	}
	return nil
}

func (b *broken) maybe(where string) {
	if b.in == where {
		panic("as asked")
	}
}

// TestBrokenPorts: a port that panics is dropped and closed, and costs nobody a frame.
func TestBrokenPorts(t *testing.T) {
	for _, where := range []string{"receive", "error", "send", "offloads", "arm"} {
		t.Run(where, func(t *testing.T) {
			s, p := working(t, 3)
			b := &broken{in: where, closed: make(chan struct{})}
			if err := s.Attach("broken", b); err != nil {
				t.Fatal(err)
			}
			f := frame(0xffff, 1, 60) // unknown, so to all
			if where == "offloads" {
				f.Header = Header{Flags: NeedsCsum, CsumStart: 34, CsumOffset: 16}
			}
			p[0].Write([]Frame{f})
			for _, to := range p[1:] {
				if got := next(t, to); len(got) != 1 {
					t.Errorf("%d frames", len(got))
				}
			}
			select {
			case <-b.closed:
			case <-time.After(limit):
				t.Fatal("not closed")
			}
			if n := s.Len(); n != 3 {
				t.Errorf("%d ports", n)
			}
		})
	}
}

// TestIdleSleeps: a switch with nothing to do does nothing at all.
func TestIdleSleeps(t *testing.T) {
	s, p := working(t, 8)
	for i := range p {
		p[i].Write([]Frame{frame(0xffff, uint32(i+1), 60)})
	}
	for from := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		a := s.Stats()
		time.Sleep(100 * time.Millisecond)
		b := s.Stats()
		// To ask wakes it up, once for each Stats.
		if b.Rounds-a.Rounds <= 2*clockRounds && b.Yields == a.Yields && b.Sleeps-a.Sleeps <= 2 {
			return
		}
		if time.Since(from) > limit {
			t.Fatalf("still busy: %+v, then %+v", a, b)
		}
	}
}
