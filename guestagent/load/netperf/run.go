package netperf

import (
	"cmp"
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// stallTime is how long a transfer may take to end after its time is up.
const stallTime = 30 * time.Second

// transfer moves the data, watched.
func (r *run) transfer(ctx context.Context) error {
	watched, answered, release := r.client.control.watch(ctx, false)
	defer release()
	watched, rest := unlessEarly(watched, answered)
	defer rest()
	stop := newStopper(watched)
	defer stop.release()
	r.moved = &transfer{sock: r.sock, stop: stop}
	if r.Latency {
		r.moved.latency = r.latencies
	}
	if r.Test.Connects {
		return r.connections(stop)
	}
	stop.guard(r.sock, unix.SHUT_RDWR)
	if err := r.sock.connect(r.peer); err != nil {
		return r.moved.ended("connect", err)
	}
	if r.Test.Direction != RR || r.Latency {
		r.sock.direct()
	}
	defer r.report()()
	r.start(stop)
	err := r.finish(r.move())
	if r.Test.udp() {
		r.moved.endDatagrams(answered)
	}
	return err
}

// errEarly ends a test whose server has sent its results long before the client is done.
var errEarly = errors.New("netserver ended the test before its time")

// earlyTime is how long a test may go on after the server's results. Of a counted TCP_CRR they come before the last
// connection is closed.
const earlyTime = 5 * time.Second

// unlessEarly ends the context that it returns when answered is closed and the test still goes on.
func unlessEarly(ctx context.Context, answered <-chan struct{}) (watched context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-ctx.Done():
			return
		case <-answered:
		}
		select {
		case <-ctx.Done():
		case <-time.After(earlyTime):
			cancel(errEarly)
		}
	}()
	return ctx, func() { cancel(nil); <-done }
}

// start starts the clocks. A test that only receives ends when the server says so.
func (r *run) start(stop *stopper) {
	r.meter.start(r.Local.MeasureCPU)
	switch d := time.Duration(max(r.Length, 0)) * time.Second; {
	case r.Test.Direction != Receive:
		stop.startClock(d, stallTime)
	case d > 0:
		stop.startClock(d+stallTime, 0)
	}
}

// move does the test over one socket and ends a stream.
func (r *run) move() error {
	in, out := r.buffers()
	limit := r.limit()
	t := r.moved
	switch {
	case r.Test.Direction == Receive:
		return thenFinish(t, t.receiveStream(in))
	case r.Test.udp() && r.Test.Direction == Send:
		return t.sendDatagrams(out, limit)
	case r.Test.udp():
		return t.askDatagrams(out, in, r.Burst, limit)
	case r.Test.Direction == Send:
		return thenFinish(t, t.sendStream(out, limit))
	}
	return thenFinish(t, t.askStream(out, in, r.Burst, limit))
}

// limit is the length of a test by bytes or transactions, 0 of one by time.
func (r *run) limit() uint64 { return uint64(max(-r.Length, 0)) }

// thenFinish ends the stream in an orderly way, if it went well.
func thenFinish(t *transfer, err error) error {
	if err != nil {
		return err
	}
	return t.finish()
}

// finish takes the figures. A stream sent is over when the peer has read it; other tests are when time is up.
func (r *run) finish(err error) error {
	end := time.Now()
	if r.Test.Direction == RR || r.Test.udp() {
		end = r.moved.stop.end()
	}
	r.meter.finish(r.sock, end)
	return err
}

// connections is a TCP_CRR. The first socket was made to show its buffers, holds the
// place of those that follow, and is not connected.
func (r *run) connections(stop *stopper) error {
	defer r.report()()
	in, out := r.buffers()
	last := r.sock
	options := r.options(r.local.Addr())
	if options.Congestion != "" && options.Congestion == systemCongestion(options) {
		options.Congestion = "" // a call less for each connection
	}
	limit := r.limit()
	if !r.Latency {
		x := newReconnection(r.moved, options, r.peer, out, in)
		stop.guard(x, unix.SHUT_RDWR)
		r.start(stop)
		return r.reconnected(last, x.ask(limit))
	}
	last.direct()
	dial := func() (*socket, error) {
		s, err := newSocket(options)
		if err != nil {
			return nil, err
		}
		if last.isDirect {
			s.timeouts(r.Request > shortSend)
		}
		stop.guard(s, unix.SHUT_RDWR)
		if err := s.connect(r.peer); err != nil {
			s.Close()
			return nil, err
		}
		return s, nil
	}
	r.start(stop)
	return r.reconnected(last, r.moved.connectAndAsk(out, in, limit, dial))
}

// reconnected takes the figures, but for what no socket can tell of all.
func (r *run) reconnected(last *socket, err error) error {
	r.meter.finish(last, r.moved.stop.end())
	r.meter.retransmits = -1
	return err
}

// buffers are those of the receive and of the send calls.
func (r *run) buffers() (in, out []byte) {
	if r.Test.Direction == RR {
		return make([]byte, r.Response), filled(r.Request)
	}
	send, receive := r.sizes()
	return make([]byte, receive), filled(send)
}

// sizes are those of the send and receive calls of a stream test: what was asked for, or what a socket buffer holds.
func (r *run) sizes() (send, receive int) {
	send = min(cmp.Or(r.Local.SendSize, int(r.send)), maxSize)
	if r.Test.udp() {
		send = min(send, maxDatagram)
	}
	return send, min(cmp.Or(r.Local.RecvSize, int(r.recv)), maxSize)
}

// report calls OnInterim every interval until the function it returns is called, which calls it a last time.
func (r *run) report() func() {
	if r.Interim <= 0 || r.OnInterim == nil {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(r.Interim)
		defer ticker.Stop()
		var seen uint64
		since := time.Now()
		tell := func() {
			now, units := time.Now(), r.moved.progress.Load()
			r.OnInterim(Interim{units - seen, now.Sub(since), now})
			seen, since = units, now
		}
		for {
			select {
			case <-ticker.C:
				tell()
			case <-quit:
				tell()
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}
