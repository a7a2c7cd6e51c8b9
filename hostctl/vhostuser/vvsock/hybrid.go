package vvsock

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser/internal/unixsock"
)

var errTimeout = fmt.Errorf("guest did not answer: %w", os.ErrDeadlineExceeded)

// acceptClients takes clients of the unix socket as long as there is room; the others wait in its backlog.
func (l *loop) acceptClients() {
	for l.clients && l.room() {
		fd, _, err := unix.Accept4(l.listen, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err == unix.ECONNABORTED || err == unix.EINTR {
			continue
		}
		if err != nil {
			l.clients = err != unix.EAGAIN
			if l.clients { // out of descriptors: the next event of any kind tries again
				l.cfg.Logf("vsock cid %d: accept: %v", l.cfg.GuestCID, err)
			}
			return
		}
		c := &conn{fd: fd, credit: newCredit(l.used)}
		if err := l.open(c); err != nil {
			l.cfg.Logf("vsock cid %d: accept: %v", l.cfg.GuestCID, err)
			continue
		}
		l.begin(c, stateHandshake, l.cfg.HandshakeTimeout)
	}
}

// room reports whether one more connection may be opened from the host's side.
func (l *loop) room() bool { return len(l.opening) < MaxPending && l.used < MaxConnections }

// handshake looks for the CONNECT line, and takes no byte of what follows it.
func (l *loop) handshake(c *conn) {
	var line [maxLine]byte
	n, _, err := unix.Recvfrom(c.fd, line[:], unix.MSG_PEEK)
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if err != nil || n == 0 {
		l.forget(c)
		return
	}
	port, used, err := parseConnect(line[:n])
	if err != nil {
		l.stats.Refused++
		l.forget(c)
		return
	}
	if used == 0 {
		return // more will come
	}
	_, _ = unix.Read(c.fd, line[:used])
	if !l.running() {
		l.forget(c)
		return
	}
	l.request(c, port)
}

// request asks the guest for a connection to port.
func (l *loop) request(c *conn, port uint32) {
	c.key = l.freeKey(port)
	l.conns[c.key] = c
	l.begin(c, stateRequested, l.cfg.ConnectTimeout)
	c.owes |= oweRequest
	l.schedule(c)
}

// freeKey picks a host port that is not in use towards the guest's port.
func (l *loop) freeKey(port uint32) key {
	for {
		k := key{host: l.nextPort, guest: port}
		if l.nextPort++; l.nextPort == 2*firstPort {
			l.nextPort = firstPort
		}
		if l.conns[k] == nil {
			return k
		}
	}
}

// established handles the guest's RESPONSE.
func (l *loop) established(c *conn) {
	c.state = stateOpen
	l.endOpening(c)
	if c.result != nil {
		c.answer(nil)
		return
	}
	if _, err := unix.Write(c.fd, fmt.Appendf(nil, "OK %d\n", c.key.host)); err != nil {
		l.abandon(c)
	}
}

// startDials takes what Dial has queued.
func (l *loop) startDials() {
	for l.room() || !l.running() {
		c := l.nextDial()
		if c == nil {
			return
		}
		l.startDial(c)
	}
}

func (l *loop) startDial(c *conn) {
	if !l.running() {
		c.answer(ErrNotReady)
		_ = unix.Close(c.fd)
		return
	}
	c.credit = newCredit(l.used)
	if err := l.open(c); err != nil {
		c.answer(err)
		return
	}
	l.request(c, c.key.guest)
}

func (l *loop) nextDial() *conn {
	l.dialMu.Lock()
	defer l.dialMu.Unlock()
	if l.dials.len() == 0 {
		return nil
	}
	return l.dials.pop()
}

// accept handles a REQUEST of the guest: it is connected to the unix socket of that port, or reset.
func (l *loop) accept(k key, h *header) {
	c, err := l.connect(k)
	if err != nil {
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ECONNREFUSED) {
			l.cfg.Logf("vsock cid %d: port %d: %v", l.cfg.GuestCID, k.host, err)
		}
		l.stats.Refused++
		l.reset(k, typeStream)
		return
	}
	c.learn(h)
	c.state = stateOpen
	c.owes |= oweResponse
	l.conns[k] = c
	l.schedule(c)
}

func (l *loop) connect(k key) (*conn, error) {
	if l.cfg.UDS == "" {
		return nil, unix.ENOENT
	}
	if l.used >= MaxConnections {
		return nil, errLimit
	}
	fd, err := unixsock.Connect(fmt.Sprintf("%s_%d", l.cfg.UDS, k.host))
	if err != nil {
		return nil, err
	}
	c := &conn{key: k, fd: fd, credit: newCredit(l.used)}
	return c, l.open(c)
}

// socketEvent handles an event of the host's side of a connection.
func (l *loop) socketEvent(c *conn, events uint32) {
	c.readable = true
	c.hup = c.hup || events&(unix.EPOLLHUP|unix.EPOLLERR) != 0
	if events&unix.EPOLLOUT != 0 && c.pending.len() > 0 {
		l.flushPending(c)
	}
	switch {
	case c.fd < 0: // flushPending may have ended it
	case c.state == stateHandshake:
		l.handshake(c)
		if c.state == stateHandshake && events&unix.EPOLLRDHUP != 0 {
			l.forget(c) // the rest of the line is not to come
		}
	case !c.hup:
		l.schedule(c)
	case c.state == stateRequested:
		l.abandon(c)
	case c.state == stateDraining:
		l.forget(c)
	case c.eof || c.guestShut&shutReceive != 0:
		l.hostGone(c) // otherwise what is left to read comes first
	default:
		l.schedule(c)
	}
}

// hostGone handles a host peer that has closed: nothing can be delivered to it any more.
func (l *loop) hostGone(c *conn) {
	c.forward(c.pending.len())
	c.pending = fifo{}
	l.closeHost(c)
	c.oweShut(shutBoth)
	l.schedule(c)
}
