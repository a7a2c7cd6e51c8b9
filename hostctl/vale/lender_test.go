package vale

import (
	"errors"
	"slices"
	"testing"
)

// lender is a port that records what is called.
type lender struct {
	script
	log  []string
	fail bool
}

func (p *lender) Receive(frames []Frame) (int, error) {
	p.log = append(p.log, "receive")
	if p.fail {
		return 0, errors.New("broken")
	}
	return p.script.Receive(frames)
}

func (p *lender) Send(frames []Frame) (int, int) {
	p.log = append(p.log, "send")
	return p.script.Send(frames)
}

func (p *lender) Return() {
	p.log = append(p.log, "return")
	if p.room == -1 {
		panic("broken")
	}
}

// TestLender: what is lent is given back once it was given away, in the same round, and only then.
func TestLender(t *testing.T) {
	s, _ := stepped(t, 0, 0)
	p, q := &lender{script: script{room: 99}}, &script{room: 99}
	if err := errors.Join(s.Attach("p", p), s.Attach("q", q), s.Attach("r", &script{room: 99})); err != nil {
		t.Fatal(err)
	}
	s.round()
	p.in, q.in = []Frame{frame(2, 1, 60)}, []Frame{frame(3, 2, 60)} // to all
	s.round()
	if want := []string{"receive", "receive", "send", "return"}; !slices.Equal(p.log, want) || len(q.got) != 1 {
		t.Errorf("%q, %d frames", p.log, len(q.got))
	}
	p.log, p.fail = nil, true
	s.round()
	if want := []string{"receive"}; !slices.Equal(p.log, want) || s.member("p") != nil {
		t.Errorf("%q", p.log)
	}
}

// TestLenderPanics: it is dropped, as for any other call.
func TestLenderPanics(t *testing.T) {
	s, _ := stepped(t, 0, 0)
	p, q := &lender{script: script{room: -1, in: []Frame{frame(2, 1, 60)}}}, &script{room: 99}
	if err := errors.Join(s.Attach("p", p), s.Attach("q", q)); err != nil {
		t.Fatal(err)
	}
	s.round()
	if s.member("p") != nil || len(q.got) != 1 || len(s.lent) != 0 {
		t.Errorf("the port is there: %v, %d frames", s.member("p") != nil, len(q.got))
	}
}
