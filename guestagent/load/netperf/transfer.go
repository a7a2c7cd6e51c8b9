package netperf

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// transfer moves the data of one test over one socket, or one after the other.
type transfer struct {
	counts
	sock     *socket
	stop     *stopper
	latency  *latencies    // nil: not measured
	progress atomic.Uint64 // bytes or transactions so far, for others to look at
}

// timed runs f and measures it when that is wanted.
func (t *transfer) timed(f func() error) error {
	if t.latency == nil {
		return f()
	}
	start := time.Now()
	err := f()
	if err == nil {
		t.latency.add(time.Since(start))
	}
	return err
}

// sendStream writes b again and again until time is up or limit bytes are sent; 0 is no limit.
func (t *transfer) sendStream(b []byte, limit uint64) error {
	t.stop.guard(t.sock, unix.SHUT_WR)
	for !t.stop.expired.Load() {
		if limit > 0 {
			b = b[:min(uint64(len(b)), limit-t.BytesSent)]
		}
		if len(b) == 0 {
			break
		}
		if err := t.timed(func() error { return t.sendSome(b) }); err != nil {
			return t.ended("send", err)
		}
	}
	return nil
}

func (t *transfer) sendSome(b []byte) error {
	n, err := t.sock.write(b)
	t.BytesSent += uint64(n)
	if err != nil {
		return err
	}
	t.SendCalls++
	t.progress.Store(t.BytesSent)
	return nil
}

// ended turns an error into nil when it comes of the end of the test.
func (t *transfer) ended(verb string, err error) error {
	if t.stop.expired.Load() {
		return t.stop.err()
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s data: peer closed the connection before the end of the test", verb)
	}
	return fmt.Errorf("%s data: %w", verb, err)
}

// receiveStream reads until the peer ends the stream. It sleeps until half a read is there (socket(7), SO_RCVLOWAT): a
// receiver as fast as this one otherwise wakes for every segment, and the wake-ups, which the sender's processor makes
// when both are on one machine, cost more than a third of its time.
func (t *transfer) receiveStream(b []byte) error {
	_ = unix.SetsockoptInt(t.sock.fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, len(b)/2)
	t.stop.guard(t.sock, noInterrupt)
	for {
		err := t.timed(func() error { return t.receiveSome(b) })
		if errors.Is(err, io.EOF) {
			return t.stop.err()
		}
		if err != nil {
			return t.ended("receive", err)
		}
	}
}

func (t *transfer) receiveSome(b []byte) error {
	n, err := t.sock.read(b)
	switch {
	case err != nil:
		return err
	case n == 0:
		return io.EOF
	}
	t.RecvCalls++
	t.BytesReceived += uint64(n)
	t.progress.Store(t.BytesReceived)
	return nil
}

// finish ends a stream from this side and waits for the peer's end, so that everything sent has been read. What comes
// meanwhile does not count.
func (t *transfer) finish() error {
	t.stop.guard(t.sock, noInterrupt)
	t.sock.interrupt(unix.SHUT_WR)
	var rest [64 << 10]byte
	for {
		n, err := t.sock.read(rest[:])
		if err != nil && !errors.Is(err, unix.ECONNRESET) {
			return fmt.Errorf("end data connection: %w", err)
		}
		if n == 0 || err != nil {
			return t.stop.err()
		}
	}
}
