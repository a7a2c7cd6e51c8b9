package netperf

import (
	"errors"
	"io"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// sendAll writes the whole of b.
func (t *transfer) sendAll(b []byte) error {
	for len(b) > 0 {
		n, err := t.sock.write(b)
		t.BytesSent += uint64(n)
		if err != nil {
			return err
		}
		t.SendCalls++
		b = b[n:]
	}
	return nil
}

// receiveAll fills b from a stream; io.EOF when the stream ends first.
func (t *transfer) receiveAll(b []byte) error {
	for len(b) > 0 {
		n, err := t.sock.read(b)
		if err != nil {
			return err
		}
		if n == 0 {
			return io.EOF
		}
		t.RecvCalls++
		t.BytesReceived += uint64(n)
		b = b[n:]
	}
	return nil
}

// receiveDatagram takes one datagram; io.EOF for an empty one, which is how netperf ends a test.
func (t *transfer) receiveDatagram(b []byte) error {
	n, err := t.sock.read(b)
	if err != nil {
		return err
	}
	if n == 0 {
		return io.EOF
	}
	t.RecvCalls++
	t.BytesReceived += uint64(n)
	return nil
}

//go:nosplit
//go:norace
func (t *transfer) transacted() {
	t.Transactions++
	t.progress.Store(t.Transactions)
}

// askStream sends requests over a stream and waits for their answers, 1+burst of them under way, until time is up or limit
// transactions are done (0: no limit).
func (t *transfer) askStream(request, answer []byte, burst int, limit uint64) error {
	t.stop.guard(t.sock, unix.SHUT_WR) // the last answer still comes
	if t.latency != nil {
		return t.askTimed(request, answer, burst, limit, t.receiveAll)
	}
	x := exchange{transfer: t, request: request, answer: answer, stream: true}
	return x.ask(burst, limit)
}

// askDatagrams is askStream over datagrams. As in the original, one that is lost ends the transactions until time is up.
func (t *transfer) askDatagrams(request, answer []byte, burst int, limit uint64) error {
	t.stop.guard(t.sock, unix.SHUT_RD)
	if t.latency != nil {
		return t.askTimed(request, answer, burst, limit, t.receiveDatagram)
	}
	x := exchange{transfer: t, request: request, answer: answer}
	return x.ask(burst, limit)
}

// askTimed is exchange.ask where what each takes is measured: that needs the runtime's clock. receive takes one answer.
func (t *transfer) askTimed(request, answer []byte, burst int, limit uint64, receive func([]byte) error) error {
	sentAt := make([]time.Time, burst+1)
	var sent uint64
	for !t.stop.expired.Load() && (limit == 0 || t.Transactions < limit) {
		for sent-t.Transactions <= uint64(burst) && (limit == 0 || sent < limit) {
			sentAt[sent%uint64(len(sentAt))] = time.Now()
			if err := t.sendAll(request); err != nil {
				return t.ended("send", err)
			}
			sent++
		}
		if err := receive(answer); err != nil {
			return t.ended("receive", err)
		}
		t.latency.add(time.Since(sentAt[t.Transactions%uint64(len(sentAt))]))
		t.transacted()
	}
	return t.stop.err()
}

// serveStream answers requests on a stream until the client ends it.
func (t *transfer) serveStream(request, answer []byte) error {
	t.stop.guard(t.sock, noInterrupt)
	x := exchange{transfer: t, request: request, answer: answer, stream: true}
	return t.clientEnd(x.serve())
}

// clientEnd is nil when the client ended its connection, in whatever way.
func (t *transfer) clientEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) {
		return t.stop.err()
	}
	return t.ended("serve", err)
}

// connectAndAsk has a connection for each transaction, made by dial.
func (t *transfer) connectAndAsk(request, answer []byte, limit uint64, dial func() (*socket, error)) error {
	for !t.stop.expired.Load() && (limit == 0 || t.Transactions < limit) {
		if err := t.timed(func() error { return t.oneConnection(request, answer, dial) }); err != nil {
			return t.ended("transact", err)
		}
		t.transacted()
	}
	return t.stop.err()
}

// oneConnection is over when the server has closed it.
func (t *transfer) oneConnection(request, answer []byte, dial func() (*socket, error)) error {
	var err error
	if t.sock, err = dial(); err != nil {
		return err
	}
	defer t.sock.Close()
	if err := t.sendAll(request); err != nil {
		return err
	}
	if err := t.receiveAll(answer); err != nil {
		return err
	}
	var end [1]byte
	if n, err := t.sock.read(end[:]); n > 0 || err != nil && !errors.Is(err, unix.ECONNRESET) {
		return errors.Join(errors.New("server sent more than the answer"), err)
	}
	return nil
}

// acceptAndAnswer serves a connection for each transaction until time is up or limit transactions are done.
// last is called after each. A connection from one who may not is closed, and one without a request is no error.
func (t *transfer) acceptAndAnswer(listener *socket, request, answer []byte, limit uint64, may func(netip.Addr) bool, last func()) error {
	for limit == 0 || t.Transactions < limit {
		conn, from, err := listener.accept()
		if err != nil {
			return t.ended("accept", err)
		}
		if !may(from.Addr()) {
			conn.Close()
			continue
		}
		t.answerOne(conn, request, answer)
		t.stop.guard(listener, unix.SHUT_RDWR)
		last()
	}
	return t.stop.err()
}

// answerOne serves one transaction; the end of the test interrupts it.
func (t *transfer) answerOne(conn *socket, request, answer []byte) {
	defer conn.Close()
	t.sock = conn
	t.stop.guard(conn, unix.SHUT_RDWR)
	if t.receiveAll(request) == nil && t.sendAll(answer) == nil {
		t.transacted()
	}
}
