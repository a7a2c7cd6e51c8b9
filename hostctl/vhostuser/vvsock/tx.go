package vvsock

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser/guestmem"
	"picolab/hostctl/vhostuser/virtq"
)

// drainTX takes a batch of packets from the guest. It goes on whether or not there is room for answers: each connection
// owes a bounded set of them, so that the two rings cannot wait for each other.
func (l *loop) drainTX(q virtq.Queue) error {
	n := 0
	for ; n < len(l.chains); n++ {
		ok, err := q.Pop(&l.chains[n])
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := l.packet(&l.chains[n]); err != nil {
			return err
		}
	}
	if err := l.flushWrite(); err != nil {
		return err
	}
	for i := range n {
		q.Push(&l.chains[i], 0)
	}
	l.txReady = n == len(l.chains) || q.EnableKick()
	return nil
}

// packet handles one packet. An error is one of the ring, not of the packet: those are dropped and counted.
func (l *loop) packet(ch *virtq.Chain) error {
	if ch.Read(l.hdr[:]) < headerSize {
		l.stats.Dropped++
		return nil
	}
	h := parseHeader(&l.hdr) // a copy: the guest cannot change what is checked here
	if h.srcCID != l.cfg.GuestCID || h.dstCID != HostCID || int64(h.len) > int64(ch.Readable()) {
		l.stats.Dropped++
		return nil
	}
	k := key{host: h.dstPort, guest: h.srcPort}
	c := l.conns[k]
	if h.op != opData || c != l.write.conn {
		if err := l.flushWrite(); err != nil { // keep the order of what the guest did
			return err
		}
		c = l.conns[k]
	}
	switch {
	case h.kind == typeStream && c != nil:
		return l.known(c, &h, ch)
	case h.kind == typeStream && h.op == opRequest:
		l.accept(k, &h)
	case h.op != opReset:
		l.reset(k, h.kind)
	}
	return nil
}

// known handles a packet of a connection that exists.
func (l *loop) known(c *conn, h *header, ch *virtq.Chain) error {
	c.learn(h)
	switch {
	case h.op == opReset:
		c.answer(ErrRefused)
		l.finish(c)
		return nil
	case h.op == opResponse && c.state == stateRequested && c.asked:
		l.established(c)
	case c.state != stateOpen:
		l.violation(c)
		return nil
	case h.op == opData:
		return l.data(c, h, ch)
	case h.op == opShutdown:
		l.guestShutdown(c, h.flags)
		return nil
	case h.op == opCreditRequest:
		c.owes |= oweCreditUpdate
	case h.op != opCreditUpdate:
		l.violation(c)
		return nil
	}
	l.schedule(c)
	return nil
}

// violation ends a connection whose guest side broke the rules.
func (l *loop) violation(c *conn) {
	l.stats.Violations++
	l.reset(c.key, typeStream)
	l.finish(c)
}

// schedule puts c in the round if it has something for the guest.
func (l *loop) schedule(c *conn) {
	c.askCredit()
	if c.hasWork() {
		l.ready.add(c)
	}
}

// guestShutdown handles SHUTDOWN. Once the guest neither sends nor receives, a reset lets it finish without waiting for its
// close timeout (8 s in Linux).
func (l *loop) guestShutdown(c *conn, flags uint32) {
	c.guestShut |= flags & shutBoth
	if c.guestShut == shutBoth {
		l.reset(c.key, typeStream)
		l.finish(c)
		return
	}
	if c.guestShut&shutReceive != 0 && c.fd >= 0 {
		_ = unix.Shutdown(c.fd, unix.SHUT_RD)
	}
	l.afterWrite(c)
}

// writeBatch gathers what consecutive packets of one connection carry, to write it at once.
type writeBatch struct {
	conn  *conn
	segs  [][]byte
	bytes int
}

// data takes the payload of a packet.
func (l *loop) data(c *conn, h *header, ch *virtq.Chain) error {
	if c.guestShut&shutSend != 0 || !c.accept(h.len) {
		if err := l.flushWrite(); err != nil {
			return err
		}
		l.violation(c)
		return nil
	}
	l.stats.FromGuest += uint64(h.len)
	w := &l.write
	w.conn = c
	w.segs = ch.ReadSegments(w.segs, 0, int(h.len))
	w.bytes += int(h.len)
	return nil
}

// flushWrite passes the batch on to its socket, straight from the guest's memory, and keeps what the socket does not take.
func (l *loop) flushWrite() error {
	w := &l.write
	c, bytes := w.conn, w.bytes
	if c == nil {
		return nil
	}
	segs := w.segs
	w.conn, w.segs, w.bytes = nil, w.segs[:0], 0
	if c.fd < 0 {
		c.forward(bytes) // nobody is there to read it
		l.creditDue(c)
		return nil
	}
	n := 0
	if c.pending.len() == 0 {
		var err error
		if n, err = l.vec.writev(c.fd, segs); err != nil && err != unix.EAGAIN {
			return l.writeFailed(c, bytes, err)
		}
	}
	c.forward(n)
	keep(&c.pending, segs, n)
	l.afterWrite(c)
	return nil
}

// keep appends segs to f, without the first skip bytes.
func keep(f *fifo, segs [][]byte, skip int) {
	for _, s := range segs {
		if skip >= len(s) {
			skip -= len(s)
			continue
		}
		f.add(s[skip:])
		skip = 0
	}
}

// writeFailed handles a socket whose peer does not read any more; the bytes are lost.
func (l *loop) writeFailed(c *conn, bytes int, err error) error {
	if errors.Is(err, unix.EFAULT) {
		return fmt.Errorf("write from guest memory: %w", guestmem.ErrFault)
	}
	c.forward(bytes + c.pending.len())
	c.pending = fifo{}
	c.oweShut(shutReceive)
	l.afterWrite(c)
	return nil
}

// flushPending writes what was kept. It needs no ring.
func (l *loop) flushPending(c *conn) {
	for c.pending.len() > 0 && c.fd >= 0 {
		a, b := c.pending.peek()
		n, err := l.vec.writev(c.fd, [][]byte{a, b})
		if err == unix.EAGAIN {
			break
		}
		if err != nil {
			_ = l.writeFailed(c, 0, err)
			return
		}
		c.pending.drop(n)
		c.forward(n)
	}
	l.afterWrite(c)
}

// afterWrite draws the consequences of bytes having gone, or not, to the host.
func (l *loop) afterWrite(c *conn) {
	empty := c.pending.len() == 0
	if empty && c.state == stateDraining {
		l.forget(c)
		return
	}
	if empty && c.guestShut&shutSend != 0 && c.fd >= 0 {
		_ = unix.Shutdown(c.fd, unix.SHUT_WR)
	}
	l.wantOut(c, !empty)
	l.creditDue(c)
}

func (l *loop) creditDue(c *conn) {
	if c.due() {
		c.owes |= oweCreditUpdate
	}
	if c.state == stateOpen {
		l.schedule(c)
	}
}

// wantOut asks epoll for EPOLLOUT only while there is something to write: each read of the peer would be an event.
func (l *loop) wantOut(c *conn, want bool) {
	if c.wantOut == want || c.fd < 0 {
		return
	}
	c.wantOut = want
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET, Fd: c.slot, Pad: l.gens[c.slot]}
	if want {
		ev.Events |= unix.EPOLLOUT
	}
	_ = unix.EpollCtl(l.epfd, unix.EPOLL_CTL_MOD, c.fd, &ev)
}
