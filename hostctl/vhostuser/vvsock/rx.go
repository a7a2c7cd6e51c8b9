package vvsock

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser/guestmem"
	"picolab/hostctl/vhostuser/virtq"
)

// fillRX gives the guest what there is for it, connection by connection, until nothing is left or its ring is empty.
func (l *loop) fillRX(q virtq.Queue) error {
	for budget := q.Size(); budget > 0; budget-- {
		if l.rxEmpty && !q.EnableKick() {
			return nil
		}
		l.rxEmpty = false
		switch {
		case l.resets.len() > 0:
			if err := l.sendReset(q); err != nil {
				return err
			}
		case l.ready.len() > 0:
			if err := l.serve(q, *l.ready.first()); err != nil {
				return err
			}
		default:
			q.DisableKick()
			return nil
		}
	}
	l.rxMore = true // after a look at the other events
	return nil
}

// serve gives c its turn: one control packet, or one batch of data.
func (l *loop) serve(q virtq.Queue, c *conn) (err error) {
	if c.owes != 0 {
		err = l.sendControl(q, c)
	} else if c.wantsRead() && c.free() > 0 {
		err = l.sendData(q, c)
	}
	if err == nil && !l.rxEmpty && c.queued {
		l.ready.rotate()
	}
	return err
}

// send puts a packet without payload in the next buffer; it reports false when there is none.
func (l *loop) send(q virtq.Queue, h *header) (bool, error) {
	for {
		ch := &l.chains[0]
		ok, err := q.Pop(ch)
		if err != nil {
			return false, err
		}
		if !ok {
			l.rxEmpty = true
			return false, nil
		}
		h.srcCID, h.dstCID = HostCID, l.cfg.GuestCID
		h.put(&l.hdr)
		if ch.Writable() >= headerSize {
			q.Push(ch, ch.Write(l.hdr[:]))
			return true, nil
		}
		q.Push(ch, 0) // too short for anything
		l.stats.Dropped++
	}
}

func (l *loop) sendReset(q virtq.Queue) error {
	ok, err := l.send(q, l.resets.first())
	if ok {
		l.resets.pop()
	}
	return err
}

// sendControl sends the first of the packets owed.
func (l *loop) sendControl(q virtq.Queue, c *conn) error {
	bit := c.owes & -c.owes
	h := c.header(opOf(bit))
	if bit == oweShutdown {
		h.flags = c.shutSent | c.shutOwed
	}
	advertised := c.advertised
	c.announce(&h)
	ok, err := l.send(q, &h)
	if !ok {
		c.advertised = advertised
		return err
	}
	c.owes &^= bit
	switch bit {
	case oweRequest:
		c.asked = true
	case oweShutdown:
		c.shutSent, c.shutOwed = h.flags, 0
	}
	return nil
}

func opOf(bit owed) uint16 {
	switch bit {
	case oweRequest:
		return opRequest
	case oweResponse:
		return opResponse
	case oweShutdown:
		return opShutdown
	case oweCreditUpdate:
		return opCreditUpdate
	}
	return opCreditRequest
}

func (c *conn) header(op uint16) header {
	return header{srcPort: c.key.host, dstPort: c.key.guest, kind: typeStream, op: op}
}

// sendData reads from the host's socket straight into as many of the guest's buffers as its credit allows, with one system
// call, and then puts a header in each.
func (l *loop) sendData(q virtq.Queue, c *conn) error {
	count, err := l.gather(q, c.free())
	if err != nil || count == 0 {
		return err
	}
	if len(l.segs) == 0 { // and a read of nothing would look like the end
		l.pushData(q, c, l.chains[:count], 0)
		return nil
	}
	n, err := l.vec.readv(c.fd, l.segs)
	switch {
	case err == nil && n > 0:
		l.pushData(q, c, l.chains[:count], n)
		c.askCredit()
	case err == unix.EAGAIN:
		c.readable = false
	case errors.Is(err, unix.EFAULT):
		return fmt.Errorf("read into guest memory: %w", guestmem.ErrFault)
	default: // the end, or a socket error, which is the end, too
		l.hostEOF(c)
	}
	q.Abort()
	return nil
}

// gather pops buffers for up to limit bytes of payload, and leaves their space in l.segs.
func (l *loop) gather(q virtq.Queue, limit int) (count int, err error) {
	l.segs = l.segs[:0]
	for count < len(l.chains) && limit > 0 && len(l.segs) < maxIovecs/2 {
		ch := &l.chains[count]
		ok, err := q.Pop(ch)
		if err != nil {
			return 0, err
		}
		if !ok {
			l.rxEmpty = count == 0
			break
		}
		room := min(limit, payloadRoom(ch)) // 0 for a useless one, which pushData gives back
		l.segs = ch.WriteSegments(l.segs, headerSize, room)
		limit -= room
		count++
	}
	return count, nil
}

func payloadRoom(ch *virtq.Chain) int { return max(0, ch.Writable()-headerSize) }

// pushData puts n bytes, which are in place already, under headers. Buffers too short to hold any are given back.
func (l *loop) pushData(q virtq.Queue, c *conn, chains []virtq.Chain, n int) {
	l.stats.ToGuest += uint64(n)
	for i := range chains {
		ch := &chains[i]
		room := payloadRoom(ch)
		if room == 0 {
			q.Push(ch, 0)
			l.stats.Dropped++
			continue
		}
		if n == 0 {
			return
		}
		k := min(n, room)
		h := c.header(opData)
		h.srcCID, h.dstCID, h.len = HostCID, l.cfg.GuestCID, uint32(k)
		c.announce(&h)
		h.put(&l.hdr)
		ch.Write(l.hdr[:])
		q.Push(ch, headerSize+k)
		c.sent += uint32(k)
		n -= k
	}
}

// hostEOF tells the guest that the host sends no more, or neither sends nor receives.
func (l *loop) hostEOF(c *conn) {
	c.eof = true
	if c.hup = c.hup || hungUp(c.fd); c.hup { // epoll may not have said so yet
		l.hostGone(c)
		return
	}
	c.oweShut(shutSend)
}

func hungUp(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd)}}
	_, err := unix.Poll(fds, 0)
	return err == nil && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}
