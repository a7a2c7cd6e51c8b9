package netperf

import (
	"errors"
	"io"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// sendDatagrams sends b again and again until time is up or limit bytes are sent; 0 is no limit. Datagrams for which
// the system has no room are counted as failed, as in the original. Where the time that each takes is not asked for, many go
// with a call; for the system each is one of its own, from the socket to the device.
func (t *transfer) sendDatagrams(b []byte, limit uint64) error {
	t.stop.guard(t.sock, noInterrupt) // the end of the test is yet to be sent, and no send blocks for long
	send := func() error { return t.timed(func() error { return t.sendSome(b) }) }
	if t.latency == nil && len(b) > 0 {
		many := newCopies(b)
		send = func() error { return t.sendCopies(many, limit) }
	}
	for !t.stop.expired.Load() && (limit == 0 || t.BytesSent < limit) {
		err := send()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			t.FailedSends++
		case err != nil:
			return t.ended("send", err)
		}
	}
	return t.stop.err()
}

// endDatagrams tells the server that the test is over, by empty datagrams: three as the original sends, and as a full
// socket buffer drops them all, more until answered is closed or the server must have given up by itself.
func (t *transfer) endDatagrams(answered <-chan struct{}) {
	for i := range 200 {
		_, _ = t.sock.write(nil)
		pause := time.Millisecond
		if i >= 2 {
			pause = 20 * time.Millisecond
		}
		select {
		case <-answered:
			return
		case <-time.After(pause):
		}
	}
}

// firstDatagram takes the datagram that starts a test and binds the socket to its sender, when that is the client.
func (t *transfer) firstDatagram(b []byte, may func(netip.Addr) bool) error {
	for {
		n, from, err := unix.Recvfrom(t.sock.fd, b, 0)
		switch {
		case err == unix.EINTR, err == unix.EAGAIN:
			continue
		case err != nil:
			return err
		case n == 0 && (from == nil || t.stop.expired.Load()):
			return io.EOF
		}
		if may(addrPort(from).Addr()) {
			return t.adopt(from, n)
		}
	}
}

func (t *transfer) adopt(from unix.Sockaddr, n int) error {
	if err := unix.Connect(t.sock.fd, from); err != nil {
		return err
	}
	if n == 0 {
		return io.EOF
	}
	t.RecvCalls++
	t.BytesReceived += uint64(n)
	return nil
}

// serveDatagrams takes datagrams until the client's empty one, or until time is up; with an answer it sends that for
// each.
func (t *transfer) serveDatagrams(b, answer []byte, may func(netip.Addr) bool) error {
	t.stop.guard(t.sock, unix.SHUT_RD)
	err := t.firstDatagram(b, may)
	if len(answer) == 0 {
		for many := newBatch(t.sock); err == nil; {
			err = t.receiveBatch(many)
		}
		return t.datagramEnd(err)
	}
	if err == nil {
		err = t.sendAll(answer)
	}
	if err == nil {
		t.transacted()
		x := exchange{transfer: t, request: b, answer: answer}
		err = x.serve()
	}
	return t.datagramEnd(err)
}

// datagramEnd is nil when the client ended the test or went away: its results tell.
func (t *transfer) datagramEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNREFUSED) || t.stop.expired.Load() {
		return t.stop.ctx.Err()
	}
	return t.ended("receive", err)
}
