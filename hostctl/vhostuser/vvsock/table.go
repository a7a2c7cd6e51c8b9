package vvsock

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// open gives c a slot and watches its socket. On error the socket is closed.
func (l *loop) open(c *conn) error {
	if l.used >= MaxConnections {
		_ = unix.Close(c.fd)
		return errLimit
	}
	if n := len(l.freeSlot); n > 0 {
		c.slot = l.freeSlot[n-1]
		l.freeSlot = l.freeSlot[:n-1]
	} else {
		c.slot = int32(len(l.slots))
		l.slots, l.gens = append(l.slots, nil), append(l.gens, 0)
	}
	if err := l.watch(c.fd, c.slot, l.gens[c.slot]); err != nil {
		l.freeSlot = append(l.freeSlot, c.slot)
		_ = unix.Close(c.fd)
		return err
	}
	c.readable = true
	l.slots[c.slot] = c
	l.used++
	return nil
}

// begin makes c wait in a state that has a deadline.
func (l *loop) begin(c *conn, s state, limit time.Duration) {
	c.state, c.deadline = s, time.Now().Add(limit)
	if !slices.Contains(l.opening, c) {
		l.opening = append(l.opening, c)
	}
}

func (l *loop) endOpening(c *conn) {
	if i := slices.Index(l.opening, c); i >= 0 {
		l.opening = slices.Delete(l.opening, i, i+1)
	}
}

// expire drops connections that took too long to open.
func (l *loop) expire() {
	if len(l.opening) == 0 {
		return
	}
	now := time.Now()
	for _, c := range slices.Clone(l.opening) {
		if now.After(c.deadline) {
			c.answer(errTimeout)
			l.abandon(c)
		}
	}
}

// closeHost closes the host's socket of c, whose slot stays.
func (l *loop) closeHost(c *conn) {
	if c.fd >= 0 {
		_ = unix.Close(c.fd) // also takes it out of the epoll: nobody else holds the description
		c.fd = -1
	}
	c.readable = false
}

// forget removes c altogether.
func (l *loop) forget(c *conn) {
	c.answer(ErrRefused)
	l.closeHost(c)
	l.endOpening(c)
	l.detach(c)
	if l.slots[c.slot] == c {
		l.slots[c.slot] = nil
		l.gens[c.slot]++
		l.freeSlot = append(l.freeSlot, c.slot)
		l.used--
	}
	c.pending = fifo{}
}

// detach makes c unknown to the guest's side.
func (l *loop) detach(c *conn) {
	if l.conns[c.key] == c {
		delete(l.conns, c.key)
	}
	l.ready.remove(c)
}

// finish ends c for the guest. What the guest has sent still goes to the host before the socket is closed.
func (l *loop) finish(c *conn) {
	if c.state != stateOpen || c.pending.len() == 0 || c.fd < 0 {
		l.forget(c)
		return
	}
	l.detach(c)
	c.state = stateDraining
}

// abandon ends c at once, and tells the guest if it knows of it.
func (l *loop) abandon(c *conn) {
	if l.conns[c.key] == c && (c.asked || c.state == stateOpen) {
		l.reset(c.key, typeStream)
	}
	l.forget(c)
}

// reset queues a reset for the guest. Beyond a limit it is dropped: then the guest waits in vain for its own timeout, which
// only happens to one that sends nonsense and provides no buffers for the answers.
func (l *loop) reset(k key, kind uint16) {
	if l.resets.len() >= maxResets {
		l.stats.Dropped++
		return
	}
	l.resets.push(header{srcPort: k.host, dstPort: k.guest, kind: kind, op: opReset})
}

// closeGuest ends everything that needs the guest. Clients that have not named a port yet may stay.
func (l *loop) closeGuest() {
	for _, c := range l.slots {
		if c != nil && c.state != stateHandshake {
			c.answer(ErrNotReady)
			l.finish(c)
		}
	}
	l.resets.clear()
	l.txReady, l.rxEmpty = false, false
}

// closeAll ends everything. Nothing more comes in: the loop has ended.
func (l *loop) closeAll(reason error) {
	for _, c := range l.slots {
		if c != nil {
			c.answer(reason)
			l.forget(c)
		}
	}
	for c := l.nextDial(); c != nil; c = l.nextDial() {
		c.answer(reason)
		_ = unix.Close(c.fd)
	}
}
