package vvsock

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser/internal/frontend"
	"picolab/hostctl/vhostuser/internal/leak"
)

func TestHostDials(t *testing.T) {
	g := newFakeGuest(t, nil)
	c, port := g.dialed(7)
	if c.LocalAddr().String() != fmt.Sprintf("2:%d", port) || c.RemoteAddr().String() != "42:7" {
		t.Errorf("addresses %v, %v", c.LocalAddr(), c.RemoteAddr())
	}
	_, _ = c.Write([]byte("to the guest"))
	if h, p := g.recv(); h.op != opData || string(p) != "to the guest" || h.srcPort != port || h.dstPort != 7 {
		t.Errorf("%+v %q", h, p)
	}
	// The header may have any shape.
	for piece := range 60 {
		h, p := g.data(port, 7, []byte("to the host"))
		g.sendCut(h, p, piece+1)
		if b := make([]byte, 11); readFull(c, b) != nil || string(b) != "to the host" {
			t.Errorf("pieces of %d: %q", piece+1, b)
		}
	}
}

func readFull(c io.Reader, b []byte) error {
	_, err := io.ReadFull(c, b)
	return err
}

func TestRefused(t *testing.T) {
	g := newFakeGuest(t, nil)
	errs := make(chan error, 1)
	go func() {
		_, err := g.dev.Dial(t.Context(), 7)
		errs <- err
	}()
	h := g.expect(opRequest)
	g.send(g.packet(opReset, h.srcPort, 7), nil)
	if err := <-errs; !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	g.quiet()
}

// TestResets lists packets that are answered with a reset, and those that are not answered at all.
func TestResets(t *testing.T) {
	g := newFakeGuest(t, nil)
	with := func(op uint16, change func(*header)) header {
		h := g.packet(op, 5, 6)
		if change != nil {
			change(&h)
		}
		return h
	}
	for name, h := range map[string]header{
		"request to a port without socket": with(opRequest, nil),
		"data for no connection":           with(opData, nil),
		"shutdown of no connection":        with(opShutdown, nil),
		"response to no request":           with(opResponse, nil),
		"credit for no connection":         with(opCreditUpdate, nil),
		"operation 0":                      with(0, nil),
		"operation 99":                     with(99, nil),
		"seqpacket":                        with(opRequest, func(h *header) { h.kind = 2 }),
		"type 0":                           with(opRequest, func(h *header) { h.kind = 0 }),
	} {
		g.send(h, nil)
		if r := g.expect(opReset); r.srcPort != 5 || r.dstPort != 6 || r.kind != h.kind {
			t.Errorf("%s: %+v", name, r)
		}
	}
	before := g.dev.Stats().Dropped
	silent := map[string]header{
		"another source":          with(opRequest, func(h *header) { h.srcCID = 43 }),
		"the host as source":      with(opRequest, func(h *header) { h.srcCID = HostCID }),
		"another destination":     with(opRequest, func(h *header) { h.dstCID = 43 }),
		"length without payload":  with(opData, func(h *header) { h.len = 1 }),
		"length 2^32-1":           with(opData, func(h *header) { h.len = 0xffffffff }),
		"reset of no connection":  with(opReset, nil),
		"destination beyond 2^32": with(opRequest, func(h *header) { h.dstCID = 1<<32 | 2 }),
	}
	for _, h := range silent {
		g.send(h, nil)
		g.quiet()
	}
	g.sendRaw(make([]byte, headerSize-1), 100)
	g.quiet()
	if n := g.dev.Stats().Dropped - before; n != uint64(len(silent)) { // one more for the short one, one less for the reset
		t.Errorf("%d dropped, want %d", n, len(silent))
	}
}

// TestViolations ends open connections by what the guest must not do.
func TestViolations(t *testing.T) {
	g := newFakeGuest(t, nil)
	big := make([]byte, bufAllocLarge/8+1)
	for name, do := range map[string]func(port uint32){
		"a second request":  func(p uint32) { g.send(g.packet(opRequest, p, 7), nil) },
		"a second response": func(p uint32) { g.send(g.packet(opResponse, p, 7), nil) },
		"operation 99":      func(p uint32) { g.send(g.packet(99, p, 7), nil) },
		"data after the end": func(p uint32) {
			h := g.packet(opShutdown, p, 7)
			h.flags = shutSend
			g.send(h, nil)
			g.send(g.data(p, 7, []byte("x")))
		},
		"more than its credit": func(p uint32) {
			l := g.dev.loop
			l.mu.Lock()
			c := l.conns[key{p, 7}]
			c.received += bufAllocLarge / 8 * 7 // as if so much were waiting
			l.mu.Unlock()
			g.send(g.data(p, 7, big))
		},
	} {
		c, port := g.dialed(7)
		do(port)
		if h := g.expect(opReset); h.srcPort != port {
			t.Errorf("%s: %+v", name, h)
		}
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		g.quiet()
	}
	if n := g.dev.Stats().Violations; n != 5 {
		t.Errorf("%d violations", n)
	}
}

// TestCreditLimits: not a byte more goes to the guest than it has room for, and it is asked once.
func TestCreditLimits(t *testing.T) {
	g := newFakeGuest(t, nil)
	c, port := g.dialedWith(7, 10)
	_, _ = c.Write([]byte("0123456789abcdefghijABCDE"))
	if _, p := g.recv(); string(p) != "0123456789" {
		t.Errorf("first %q", p)
	}
	g.expect(opCreditRequest)
	g.quiet()
	update := g.packet(opCreditUpdate, port, 7)
	update.bufAlloc, update.fwdCnt = 10, 0
	g.send(update, nil) // nothing gained: no second question
	g.quiet()
	update.fwdCnt = 10
	g.send(update, nil)
	if _, p := g.recv(); string(p) != "abcdefghij" {
		t.Errorf("second %q", p)
	}
	g.expect(opCreditRequest)
	update.bufAlloc = 1000
	g.send(update, nil)
	if _, p := g.recv(); string(p) != "ABCDE" {
		t.Errorf("third %q", p)
	}
	g.quiet()
}

func TestCreditAnswers(t *testing.T) {
	g := newFakeGuest(t, nil)
	c, port := g.dialed(7)
	g.send(g.data(port, 7, []byte("hello")))
	_ = readFull(c, make([]byte, 5))
	g.send(g.packet(opCreditRequest, port, 7), nil)
	if h := g.expect(opCreditUpdate); h.bufAlloc != bufAllocLarge || h.fwdCnt != 5 {
		t.Errorf("%+v", h)
	}
	// Without being asked, after a quarter of the buffer.
	chunk := make([]byte, 32<<10)
	for range bufAllocLarge / 4 / len(chunk) {
		g.send(g.data(port, 7, chunk))
		_ = readFull(c, chunk)
	}
	if h := g.expect(opCreditUpdate); h.fwdCnt < bufAllocLarge/4 {
		t.Errorf("%+v", h)
	}
	g.quiet()
}

// TestBackpressure: what nobody reads is kept up to the promise; another connection goes on; then everything arrives.
func TestBackpressure(t *testing.T) {
	g := newFakeGuest(t, nil)
	slow, slowPort := g.dialed(7)
	fast, fastPort := g.dialed(8)
	chunk := bytes.Repeat([]byte("slow"), 8<<10)
	sent := 0
	for { // until the guest's credit is used up
		l := g.dev.loop
		l.mu.Lock()
		c := l.conns[key{slowPort, 7}]
		room := int(c.bufAlloc - (c.received - c.forwarded))
		l.mu.Unlock()
		if room < len(chunk) {
			break
		}
		g.send(g.data(slowPort, 7, chunk))
		sent += len(chunk)
	}
	if sent < bufAllocLarge {
		t.Errorf("only %d bytes taken", sent)
	}
	for g.drainUpdates() {
	}
	g.send(g.data(fastPort, 8, []byte("fast")))
	if b := make([]byte, 4); readFull(fast, b) != nil || string(b) != "fast" {
		t.Errorf("fast got %q", b)
	}
	// The guest ends while bytes wait; they arrive all the same.
	h := g.packet(opShutdown, slowPort, 7)
	h.flags = shutBoth
	g.send(h, nil)
	g.expect(opReset)
	b, err := io.ReadAll(slow)
	if err != nil || !bytes.Equal(b, bytes.Repeat(chunk, sent/len(chunk))) {
		t.Errorf("slow got %d of %d bytes, %v", len(b), sent, err)
	}
}

func (g *fakeGuest) drainUpdates() bool {
	_, _, ok := g.poll()
	return ok
}

// TestNoRXBuffers: packets of the guest are taken though nothing can be answered, and the answers come when they can.
func TestNoRXBuffers(t *testing.T) {
	g := connectGuest(t, newDevice(t, nil))
	for i := range uint32(300) {
		g.send(g.packet(opRequest, 5, i), nil)
	}
	for range 4 {
		g.post(rxBuffer)
	}
	for i := range uint32(300) {
		if h := g.expect(opReset); h.dstPort != i {
			t.Fatalf("answer %d: %+v", i, h)
		}
	}
	for range maxResets + 100 {
		g.dev.loop.mu.Lock()
		g.dev.loop.reset(key{1, 1}, typeStream)
		n := g.dev.loop.resets.len()
		g.dev.loop.mu.Unlock()
		if n > maxResets {
			t.Fatal("unbounded")
		}
	}
}

// TestUselessRXBuffers: buffers too short for a header, or for a byte behind it, are given back and data goes into the others.
func TestUselessRXBuffers(t *testing.T) {
	g := connectGuest(t, newDevice(t, nil))
	for range 4 {
		g.post(rxBuffer)
	}
	c, _ := g.dialed(7)
	for len(g.buffers) > 0 { // use up the good ones
		g.buffers = map[uint16]int{}
	}
	g.postAt(g.mem.Alloc(20), 20)
	g.postAt(g.mem.Alloc(headerSize), headerSize)
	g.postAt(g.mem.Alloc(headerSize+3), headerSize+3)
	_, _ = c.Write(bytes.Repeat([]byte("x"), 5*rxBuffer))
	total := 0
	for total < 5*rxBuffer {
		var n int
		g.wait("data", func() (ok bool) { _, n, ok = g.rx.Take(); return ok })
		if n > headerSize {
			total += n - headerSize
		}
		g.postAt(g.mem.Alloc(rxBuffer), rxBuffer)
	}
	if total != 5*rxBuffer || g.dev.Stats().Dropped != 2 {
		t.Errorf("%d bytes, %+v", total, g.dev.Stats())
	}
}

func TestHalfCloseByHost(t *testing.T) {
	g := newFakeGuest(t, nil)
	c, port := g.dialed(7)
	_, _ = c.Write([]byte("last words"))
	_ = c.CloseWrite()
	if _, p := g.recv(); string(p) != "last words" {
		t.Errorf("%q", p)
	}
	if h := g.expect(opShutdown); h.flags != shutSend {
		t.Errorf("flags %d", h.flags)
	}
	g.idle()
	g.send(g.data(port, 7, []byte("answer")))
	if b := make([]byte, 6); readFull(c, b) != nil || string(b) != "answer" {
		t.Errorf("%q", b)
	}
	_ = c.Close()
	if h := g.expect(opShutdown); h.flags != shutBoth {
		t.Errorf("flags %d", h.flags)
	}
	g.idle()
	g.send(g.packet(opReset, port, 7), nil)
	g.quiet()
	g.empty()
}

// idle checks that the loop has nothing to do: a connection at its end must not keep it busy.
func (g *fakeGuest) idle() {
	g.t.Helper()
	l := g.dev.loop
	g.wait("idle loop", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.ready.len() == 0 && l.resets.len() == 0 && !l.txReady && !l.rxMore
	})
}

// empty waits until the device has no connection.
func (g *fakeGuest) empty() {
	g.t.Helper()
	g.wait("no connections", func() bool { return g.dev.Stats().Connections == 0 })
}

func TestHalfCloseByGuest(t *testing.T) {
	g := newFakeGuest(t, nil)
	c, port := g.dialed(7)
	g.send(g.data(port, 7, []byte("last words")))
	h := g.packet(opShutdown, port, 7)
	h.flags = shutSend
	g.send(h, nil)
	if b, err := io.ReadAll(c); string(b) != "last words" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	_, _ = c.Write([]byte("answer"))
	if _, p := g.recv(); string(p) != "answer" {
		t.Errorf("%q", p)
	}
	h.flags = shutReceive // and so both by now
	g.send(h, nil)
	g.expect(opReset)
	g.empty()
}

func TestGuestStopsReading(t *testing.T) {
	g := newFakeGuest(t, nil)
	c, port := g.dialed(7)
	h := g.packet(opShutdown, port, 7)
	h.flags = shutReceive
	g.send(h, nil)
	g.quiet()
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("the host can still write")
	}
	_ = c.Close()
	if h := g.expect(opShutdown); h.flags != shutBoth {
		t.Errorf("flags %d", h.flags)
	}
}

// TestStops: a queue that stops, a guest that resets, a front-end that goes: the host's ends see the end.
func TestStops(t *testing.T) {
	for name, stop := range map[string]func(g *fakeGuest){
		"queue stopped": func(g *fakeGuest) { g.Stop(1) },
		"device reset":  func(g *fakeGuest) { g.Do(34, nil) },
		"disconnected":  func(g *fakeGuest) { _ = g.Close() },
		"broken ring":   func(g *fakeGuest) { g.tx.SetAvailIdx(g.tx.AvailIdx + 1000); frontend.Kick(g.txKick) },
	} {
		g := newFakeGuest(t, nil)
		c, _ := g.dialed(7)
		pending := make(chan error, 1)
		go func() {
			_, err := g.dev.Dial(t.Context(), 8)
			pending <- err
		}()
		g.expect(opRequest)
		stop(g)
		if b, err := io.ReadAll(c); len(b) != 0 || err != nil {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		if err := <-pending; !errors.Is(err, ErrNotReady) {
			t.Errorf("%s: pending dial: %v", name, err)
		}
		g.empty()
		if _, err := g.dev.Dial(t.Context(), 7); !errors.Is(err, ErrNotReady) {
			t.Errorf("%s: dial afterwards: %v", name, err)
		}
	}
}

// TestRestart stops both queues and starts them where they were.
func TestRestart(t *testing.T) {
	g := newFakeGuest(t, nil)
	for range 3 {
		c, port := g.dialed(7)
		g.send(g.data(port, 7, []byte("hello")))
		if b := make([]byte, 5); readFull(c, b) != nil {
			t.Error("no data")
		}
		rx, tx := g.Stop(0), g.Stop(1)
		g.rxKick, _ = g.Start(0, g.rx, rx)
		g.txKick, _ = g.Start(1, g.tx, tx)
	}
}

func TestGuestConnects(t *testing.T) {
	g := newFakeGuest(t, nil)
	l, err := net.Listen("unix", g.dev.cfg.UDS+"_80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h := g.packet(opRequest, 80, 1000)
	g.send(h, nil)
	if h := g.expect(opResponse); h.srcPort != 80 || h.dstPort != 1000 || h.bufAlloc != bufAllocLarge {
		t.Errorf("%+v", h)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	g.send(g.data(80, 1000, []byte("from the guest")))
	if b := make([]byte, 14); readFull(c, b) != nil || string(b) != "from the guest" {
		t.Errorf("%q", b)
	}
	g.send(g.packet(opReset, 80, 1000), nil)
	if b, err := io.ReadAll(c); len(b) != 0 || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	g.empty()
}

// TestCVE_2019_18960 changes a packet's length while the device handles it: what was checked is what is used, so that no
// connection ever gets more than was in the packet.
func TestCVE_2019_18960(t *testing.T) {
	g := newFakeGuest(t, nil)
	c, port := g.dialed(7)
	h, p := g.data(port, 7, []byte("x"))
	go func() { _, _ = io.Copy(io.Discard, c) }()
	const packets = 300
	stop := make(chan struct{})
	done := make(chan struct{})
	lenAt := g.txBase + g.txRoom + 24
	go func() {
		defer close(done)
		for i := byte(0); ; i++ {
			select {
			case <-stop:
				return
			default:
				for k := range packets {
					g.mem.Mem[lenAt+k*(headerSize+1)+2] = i & 1 * 0xff // 1 or 0xff0001
				}
			}
		}
	}()
	for range packets {
		g.send(h, p)
	}
	close(stop)
	<-done
	if s := g.dev.Stats(); s.FromGuest > packets || s.FromGuest+s.Dropped < packets {
		t.Errorf("%+v of %d packets", s, packets)
	}
}

// TestShrunkMemory takes the pages from under rings, packets and buffers; only this guest is lost.
func TestShrunkMemory(t *testing.T) {
	for _, left := range []int64{4096, 1 << 20} { // without the rings; with the rings, without RX buffers
		d := newDevice(t, nil)
		g := guestIn(t, d, frontend.NewUnsealedMemory(t, 4<<20, 0))
		g.post(rxBuffer)
		g.post(rxBuffer)
		c, _ := g.dialed(7)
		if err := unix.Ftruncate(g.mem.FD, left); err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("into the void"))
		frontend.Kick(g.txKick)
		if n, err := g.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, errDeadline) {
			t.Errorf("%d bytes left: connection is still there: %v", left, err)
		}
		if _, err := io.ReadAll(c); err != nil && !errors.Is(err, unix.ECONNRESET) {
			t.Error(err)
		}
		_ = c.Close()
		next := connectGuest(t, d)
		next.post(rxBuffer)
		next.quiet()
	}
}

func TestDeadlines(t *testing.T) {
	g := newFakeGuest(t, nil)
	c, _ := g.dialed(7)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, errDeadline) {
		t.Errorf("read: %v", err)
	}
}

// TestFairness: with one connection that always has data, others get their turn.
func TestFairness(t *testing.T) {
	g := newFakeGuest(t, nil)
	greedy, _ := g.dialedWith(7, 1<<30)
	modest, _ := g.dialedWith(8, 1<<20)
	go func() {
		for buf := make([]byte, 64<<10); ; {
			if _, err := greedy.Write(buf); err != nil {
				return
			}
		}
	}()
	for range 20 {
		_, _ = modest.Write([]byte("x"))
		others := 0
		for {
			h, _ := g.recv()
			if h.dstPort == 8 {
				break
			}
			if others++; others > 2*batch {
				t.Fatal("starved")
			}
		}
	}
	_ = greedy.Close()
}

// TestNothingLeaks opens and closes in all ways, and counts.
func TestNothingLeaks(t *testing.T) {
	g := newFakeGuest(t, nil)
	before := leak.Now()
	for i := range uint32(50) {
		c, port := g.dialed(100 + i)
		switch i % 3 {
		case 0:
			g.send(g.packet(opReset, port, 100+i), nil)
		case 1:
			h := g.packet(opShutdown, port, 100+i)
			h.flags = shutBoth
			g.send(h, nil)
			g.expect(opReset)
		default:
			_ = c.Close()
			g.expect(opShutdown)
			g.send(g.packet(opReset, port, 100+i), nil)
		}
		_ = c.Close()
	}
	g.empty()
	if err := leak.Settles(before); err != nil {
		t.Error(err)
	}
}
