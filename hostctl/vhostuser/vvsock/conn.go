package vvsock

import (
	"slices"
	"time"
)

// key names a connection: the ports of its two ends.
type key struct{ host, guest uint32 }

type state uint8

const (
	stateHandshake state = iota // a client of the unix socket has not sent its CONNECT line; not in the map
	stateRequested              // the guest has been, or will be, asked
	stateOpen
	stateDraining // over for the guest; bytes remain for the host. Not in the map
)

// Packets that a connection owes to the guest. Each is owed at most once, so they need no queue.
type owed uint8

const (
	oweRequest owed = 1 << iota
	oweResponse
	oweShutdown
	oweCreditUpdate
	oweCreditRequest
)

// conn is one connection: a stream socket on the host's side, credit on the guest's. Only the loop touches it.
type conn struct {
	key   key
	slot  int32
	fd    int // -1 once the host's side is gone
	state state
	credit

	owes      owed
	shutOwed  uint32 // flags of the shutdown owed
	shutSent  uint32 // flags the guest has been told
	guestShut uint32 // flags the guest has sent
	queued    bool   // in the ready queue
	readable  bool   // a read from fd may give something
	wantOut   bool   // EPOLLOUT is asked for
	hup       bool   // the host's peer has closed altogether
	eof       bool   // the host's peer sends no more
	asked     bool   // REQUEST has gone out
	starving  bool   // CREDIT_REQUEST has gone out and nothing came since

	pending  fifo // from the guest, for the host
	deadline time.Time
	result   chan<- error // for Dial; nil otherwise
}

// wantsRead reports whether the socket's data can go to the guest.
func (c *conn) wantsRead() bool {
	return c.state == stateOpen && c.readable && !c.eof && c.fd >= 0 && c.guestShut&shutReceive == 0
}

// hasWork reports whether the RX ring is needed.
func (c *conn) hasWork() bool {
	return c.owes != 0 || c.wantsRead() && c.free() > 0
}

// oweShut adds to what the guest is to be told about the host's side.
func (c *conn) oweShut(flags uint32) {
	if flags &^= c.shutSent | c.shutOwed; flags != 0 && c.state == stateOpen {
		c.shutOwed |= flags
		c.owes |= oweShutdown
	}
}

// answer tells Dial how it ended.
func (c *conn) answer(err error) {
	if c.result != nil {
		c.result <- err // has room for one
		c.result = nil
	}
}

// askCredit asks the guest for its counters, once, when its lack of space is what keeps the host's data back.
func (c *conn) askCredit() {
	if c.free() > 0 {
		c.starving = false
	} else if c.wantsRead() && !c.starving {
		c.starving = true
		c.owes |= oweCreditRequest
	}
}

// readyQueue is the round of connections that have something for the guest.
type readyQueue struct{ queue[*conn] }

func (q *readyQueue) add(c *conn) {
	if !c.queued {
		c.queued = true
		q.push(c)
	}
}

// rotate takes the first connection out and, if it has more to do, puts it last.
func (q *readyQueue) rotate() {
	c := q.pop()
	c.queued = false
	if c.hasWork() {
		q.add(c)
	}
}

func (q *readyQueue) remove(c *conn) {
	if !c.queued {
		return
	}
	c.queued = false
	if i := slices.Index(q.items[q.head:], c); i >= 0 {
		q.items = slices.Delete(q.items, q.head+i, q.head+i+1)
	}
	if q.len() == 0 {
		q.clear()
	}
}
