package netperf

import (
	"context"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Times of a test on the server's side.
const (
	padTime     = 4 * time.Second        // after which a client that should have ended the test is taken for lost
	connectTime = 10 * time.Minute       // for the client to open the data connection: it may sleep before the test
	crrIdleTime = 500 * time.Millisecond // after time is up, for a client that does not end a TCP_CRR otherwise
	drainTime   = 30 * time.Second       // for the client to read what was sent to it
)

// session is the server's side of one test. sock listens when the protocol is TCP.
type session struct {
	request
	response response
	sock     *socket
	may      func(netip.Addr) bool // bring data
	host     netip.Addr            // of the client
}

// prepare makes the data socket and the answer to the request.
func (s *Server) prepare(c *control, r *request) (*session, error) {
	local, remote := c.addresses()
	sock, err := newSocket(&dataOptions{
		Protocol: r.Protocol, Local: anyAddress(r.Family, local.Addr(), r.DataPort),
		SendBuffer: r.SendBuffer, RecvBuffer: r.RecvBuffer,
		NoDelay: r.Flags&flagNoDelay != 0, Keepalive: r.Flags&flagKeepalive != 0, DontRoute: r.Flags&flagRouting == 0,
		Priority: r.Priority, TOS: r.TOS, Congestion: r.Congestion,
	})
	if err != nil {
		return nil, err
	}
	if r.Protocol == unix.IPPROTO_TCP {
		if err := sock.listen(); err != nil {
			sock.Close()
			return nil, err
		}
	}
	t := &session{request: *r, sock: sock, host: remote.Addr()}
	t.may = func(a netip.Addr) bool { return s.mayBringData(a, t.host) }
	t.respond()
	return t, nil
}

// anyAddress is the wildcard of the family asked for, or else of the control connection.
func anyAddress(family int32, control netip.Addr, port int32) netip.AddrPort {
	a := netip.IPv4Unspecified()
	if family == familyV6 || family == 0 && control.Is6() {
		a = netip.IPv6Unspecified()
	}
	return netip.AddrPortFrom(a, uint16(port))
}

func (t *session) respond() {
	send, receive := t.sock.buffers()
	t.response = response{
		SendBuffer: send, RecvBuffer: receive, Length: t.Length,
		SendSize: pick(t.Response, t.SendSize, send), RecvSize: pick(t.request.Request, t.RecvSize, receive),
		Flags: t.Flags & (flagNoDelay | flagCPU), DataPort: int32(t.sock.local().Port()),
	}
}

// pick is the first size that is given, and what a buffer may be.
func pick(sizes ...int32) int32 {
	for _, n := range sizes {
		if n > 0 {
			return min(n, maxSize)
		}
	}
	return 4096
}

// run moves the data and measures.
func (t *session) run(ctx context.Context) (*results, error) {
	defer bindCPU(t.request.CPU)()
	stop := newStopper(ctx)
	defer stop.release()
	var meter meter
	x := &transfer{stop: stop, sock: t.sock}
	err := t.move(x, &meter)
	if err != nil {
		return nil, err
	}
	r := &results{counts: x.counts, Elapsed: meter.elapsed().Seconds(), CPU: meter.use, Retransmits: -1}
	r.SendBufferEnd, r.RecvBufferEnd, r.Retransmits, r.Congestion = meter.send, meter.receive, meter.retransmits, meter.congestion
	return r, nil
}

// move is the test itself.
func (t *session) move(x *transfer, m *meter) error {
	in, out := make([]byte, t.response.RecvSize), filled(int(t.response.SendSize))
	switch {
	case t.Protocol == unix.IPPROTO_UDP:
		return t.datagrams(x, m, out)
	case t.connects():
		return t.connections(x, m, in, out)
	}
	conn, err := t.acceptClient(x)
	if err != nil {
		return err
	}
	defer conn.Close()
	x.sock = conn
	if t.Direction != RR {
		conn.direct()
	}
	m.start(t.measuresCPU())
	switch t.Direction {
	case Receive:
		err = x.receiveStream(in)
	case Send:
		err = t.sendAway(x, out)
	case RR:
		err = x.serveStream(in, out)
	}
	m.finish(conn, time.Now())
	return err
}

// acceptClient waits for the data connection of the client and for no other.
func (t *session) acceptClient(x *transfer) (*socket, error) {
	x.stop.guard(t.sock, unix.SHUT_RDWR)
	timer := time.AfterFunc(connectTime, func() { t.sock.interrupt(unix.SHUT_RDWR) })
	defer timer.Stop()
	for {
		conn, from, err := t.sock.accept()
		if err != nil {
			return nil, x.ended("accept", err)
		}
		if t.may(from.Addr()) {
			return conn, nil
		}
		conn.Close()
	}
}

// sendAway sends for the length of the test and waits until the client has read it all.
func (t *session) sendAway(x *transfer, out []byte) error {
	x.stop.startClock(t.seconds(), drainTime)
	if err := x.sendStream(out, t.limit()); err != nil {
		return x.clientEnd(err)
	}
	return x.finish()
}

// datagrams takes, and in a transaction test answers, datagrams. When none ends the test, the time the server waited
// for it is no part of the test.
func (t *session) datagrams(x *transfer, m *meter, out []byte) error {
	if t.seconds() > 0 {
		x.stop.startClock(t.seconds()+padTime, padTime)
	}
	if t.Direction != RR {
		t.sock.direct()
		out = nil
	}
	m.start(t.measuresCPU())
	err := x.serveDatagrams(make([]byte, 1<<16), out, t.may)
	end := time.Now()
	if x.stop.expired.Load() {
		end = m.began.Add(t.seconds())
	}
	m.finish(t.sock, end)
	return err
}

// connections serves a TCP_CRR, whose end nothing marks: the original's server waits 4 s longer than the test.
func (t *session) connections(x *transfer, m *meter, in, out []byte) error {
	x.stop.guard(t.sock, unix.SHUT_RDWR)
	end := time.Now()
	first := true
	timer := time.AfterFunc(connectTime, func() { t.sock.interrupt(unix.SHUT_RDWR) })
	defer timer.Stop()
	t.sock.direct()
	m.start(t.measuresCPU())
	err := x.acceptAndAnswer(t.sock, in, out, t.limit(), t.may, func() {
		if end = time.Now(); first {
			first = false
			timer.Stop()
			if t.seconds() > 0 {
				x.stop.startClock(t.seconds()+crrIdleTime, padTime)
			}
		}
	})
	m.finish(t.sock, end)
	return err
}

// seconds is the length of a test by time, limit that of one by bytes or transactions; 0 when it is the other.
func (t *session) seconds() time.Duration { return time.Duration(max(t.Length, 0)) * time.Second }

func (t *session) limit() uint64 { return uint64(max(-int64(t.Length), 0)) }

// filled is a send buffer that compresses badly, so that links that compress are not overrated.
func filled(n int) []byte {
	b := make([]byte, n)
	state := uint32(2463534242)
	for i := range b {
		state ^= state << 13
		state ^= state >> 17
		state ^= state << 5
		b[i] = byte(state)
	}
	return b
}

// bindCPU makes the calling goroutine, and no other, run on a CPU until the function it returns is called; -1 is any.
// A CPU that does not exist is no error, as in the original.
func bindCPU(cpu int32) func() {
	if cpu < 0 || cpu >= 1024 {
		return func() {}
	}
	runtime.LockOSThread()
	var before, only unix.CPUSet
	_ = unix.SchedGetaffinity(0, &before)
	only.Set(int(cpu))
	_ = unix.SchedSetaffinity(0, &only)
	return func() {
		_ = unix.SchedSetaffinity(0, &before)
		runtime.UnlockOSThread()
	}
}
