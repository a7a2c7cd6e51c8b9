package catalogue

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"picolab/guestagent/wire"
	"picolab/hostctl/lab"
	"picolab/hostctl/report"
)

// Node is an endpoint of a case: the lab's host side or a guest.  Its methods
// end the instance when they fail: as FAIL when the guest's kernel refused, as
// ERROR when it was the host side, the agent or the connection.  What a method
// changes it changes back when the instance ends.
type Node struct {
	t       *T
	name    string
	agent   Agent
	machine Machine // nil for the host
}

// Host returns the lab's own side: the other end of every link.
func (t *T) Host() *Node { return &Node{t: t, name: "host", agent: t.lab.Host()} }

// Guest returns a guest of the topology.
func (t *T) Guest(name string) *Node {
	for _, m := range t.lab.Machines() {
		if m.Name() == name {
			return &Node{t: t, name: name, agent: m.Agent(), machine: m}
		}
	}
	t.specf("topology has no guest %q", name)
	return nil
}

// Segment returns a link of the topology as the host side sees it.
func (t *T) Segment(link string) Segment { return t.lab.Segment(link) }

// Timeout returns an entry of the table of waits for this lab.
func (t *T) Timeout(w lab.Wait) time.Duration { return t.lab.Timeout(w) }

// Cards returns the guest's network cards.
func (n *Node) Cards() []Card { return n.machine.Cards() }

// Card returns the guest's i-th network card.
func (n *Node) Card(i int) Card {
	cards := n.Cards()
	if i >= len(cards) {
		n.t.specf("guest %s has %d cards, not %d", n.name, len(cards), i+1)
	}
	return cards[i]
}

// Addr returns the address of the guest's i-th network card.
func (n *Node) Addr(i int) netip.Addr { return n.Card(i).Addr.Addr() }

// ask makes one request of an agent, bounded by the table's entry and by spend,
// the time the request is meant to take.
func ask[V any](n *Node, what string, w lab.Wait, spend time.Duration, fn func(context.Context) (V, error)) V {
	if n.agent == nil {
		n.t.Errorf("%s: %s: the agent is not up", n.name, what)
	}
	if n.machine == nil {
		w = lab.WaitHost
	}
	ctx, cancel := context.WithTimeout(n.t.Context(), n.t.Timeout(w)+spend)
	defer cancel()
	v, err := fn(ctx)
	if err != nil {
		n.blame(what, err)
	}
	return v
}

// tell is ask for requests without an answer.
func (n *Node) tell(what string, w lab.Wait, fn func(context.Context) error) {
	ask(n, what, w, 0, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) })
}

// blame ends the instance with the verdict that err deserves.
func (n *Node) blame(what string, err error) {
	if n.machine != nil && unheard(n.t, err) {
		n.suspect(what)
	}
	v := report.Error
	if n.machine != nil && guestsFault(err) {
		v = report.Fail
	}
	if cause := context.Cause(n.t.Context()); cause != nil {
		err = cause
	}
	n.t.stop(v, n.name+": "+what+": "+err.Error())
}

// guestsFault reports whether an agent's error is what its kernel answered, or a lab's what its guest did.
func guestsFault(err error) bool {
	if g := (*lab.GuestError)(nil); errors.As(err, &g) {
		return true
	}
	switch wire.CodeOf(err) {
	case wire.Code_GUEST, wire.Code_UNSUPPORTED, wire.Code_NOT_FOUND:
		return true
	}
	return false
}

// undo has fn run when the instance ends.  That the thing is gone already is
// no error.
func (n *Node) undo(what string, w lab.Wait, fn func(context.Context) error) {
	n.t.Cleanup(func() {
		if n.machine != nil && !n.t.answering(n.name) {
			return
		}
		n.tell(what, w, func(ctx context.Context) error {
			err := fn(ctx)
			if wire.CodeOf(err) == wire.Code_NOT_FOUND {
				return nil
			}
			return err
		})
	})
}
