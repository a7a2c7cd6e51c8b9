package vvsock

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"picolab/hostctl/vhostuser/internal/frontend"
	"picolab/hostctl/vhostuser/virtq"
)

const (
	testCID  = 42
	rxBuffer = 4096
	rxCount  = 16
)

// fakeGuest is a driver in this process: it sends what packets it is told, and shows what it gets.
type fakeGuest struct {
	*frontend.Conn
	t              testing.TB
	dev            *Device
	mem            *frontend.Memory
	rx, tx         *frontend.Ring
	rxKick, txKick int
	rxCall         int
	buffers        map[uint16]int // offset of the RX buffer behind a head
	txRoom         int            // where packets are put
	txBase         int
	usedUp         []int // RX buffers to post again, by the benchmark
}

// newDevice serves a device until the test ends.
func newDevice(t testing.TB, change func(*Config)) *Device {
	t.Helper()
	dir := t.TempDir()
	cfg := Config{GuestCID: testCID, Socket: filepath.Join(dir, "vhost"), UDS: filepath.Join(dir, "vsock"), Logf: t.Logf}
	if change != nil {
		change(&cfg)
	}
	d, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return d
}

func newFakeGuest(t testing.TB, change func(*Config)) *fakeGuest {
	t.Helper()
	g := connectGuest(t, newDevice(t, change))
	for range rxCount {
		g.post(rxBuffer)
	}
	return g
}

// connectGuest starts a driver that has no RX buffers so far.
func connectGuest(t testing.TB, d *Device) *fakeGuest {
	t.Helper()
	return guestIn(t, d, frontend.NewMemory(t, 4<<20))
}

func guestIn(t testing.TB, d *Device, mem *frontend.Memory) *fakeGuest {
	t.Helper()
	g := &fakeGuest{Conn: frontend.Dial(t, d.cfg.Socket), t: t, dev: d, mem: mem, buffers: make(map[uint16]int)}
	g.Negotiate(virtq.FeatureIndirect | virtq.FeatureEventIdx)
	g.Share(g.mem)
	g.mem.Alloc(4096) // the first page holds nothing that matters
	g.rx, g.tx = frontend.NewRing(g.mem, 128, true), frontend.NewRing(g.mem, 128, true)
	g.txBase = g.mem.Alloc(1 << 20)
	g.start(0)
	return g
}

func (g *fakeGuest) start(base uint16) {
	g.rxKick, g.rxCall = g.Start(0, g.rx, uint32(base))
	g.txKick, _ = g.Start(1, g.tx, uint32(base))
}

// post gives the device a buffer of n bytes, cut in two.
func (g *fakeGuest) post(n int) { g.postAt(g.mem.Alloc(n), n) }

func (g *fakeGuest) postAt(off, n int) {
	cut := min(n/2, 20)
	head := g.rx.Add(frontend.Buf{Off: off, Len: cut, Write: true}, frontend.Buf{Off: off + cut, Len: n - cut, Write: true})
	g.buffers[head] = off
	frontend.Kick(g.rxKick)
}

// send sends a packet, its bytes cut into descriptors of at most piece bytes.
func (g *fakeGuest) send(h header, payload []byte) {
	g.t.Helper()
	g.sendCut(h, payload, headerSize+len(payload)+1)
}

func (g *fakeGuest) sendCut(h header, payload []byte, piece int) {
	g.t.Helper()
	var b [headerSize]byte
	h.put(&b)
	g.sendRaw(append(b[:], payload...), piece)
}

// put makes a packet available without telling the device.
func (g *fakeGuest) put(h header) {
	off := g.txBase + g.txRoom
	g.txRoom += headerSize
	h.put((*[headerSize]byte)(g.mem.Mem[off:]))
	g.tx.Add(frontend.Buf{Off: off, Len: headerSize})
}

func (g *fakeGuest) sendRaw(raw []byte, piece int) {
	g.t.Helper()
	off := g.txBase + g.txRoom
	if g.txRoom += len(raw); g.txRoom > 1<<20 {
		g.t.Fatal("test sends too much")
	}
	copy(g.mem.Mem[off:], raw)
	var bufs []frontend.Buf
	for i := 0; i < len(raw); i += piece {
		bufs = append(bufs, frontend.Buf{Off: off + i, Len: min(piece, len(raw)-i)})
	}
	g.tx.Add(bufs...)
	frontend.Kick(g.txKick)
	g.wait("packet taken", func() bool { _, _, ok := g.tx.Take(); return ok })
}

// wait waits until cond holds.
func (g *fakeGuest) wait(what string, cond func() bool) {
	g.t.Helper()
	for limit := time.Now().Add(10 * time.Second); !cond(); time.Sleep(50 * time.Microsecond) {
		if time.Now().After(limit) {
			g.t.Fatalf("timeout: %s", what)
		}
	}
}

// poll returns the next packet, if there is one, and posts its buffer again.
func (g *fakeGuest) poll() (h header, payload []byte, ok bool) {
	head, n, ok := g.rx.Take()
	if !ok {
		return h, nil, false
	}
	off := g.buffers[head]
	delete(g.buffers, head)
	if n >= headerSize {
		h = parseHeader((*[headerSize]byte)(g.mem.Mem[off:]))
		payload = append(payload, g.mem.Mem[off+headerSize:off+n]...)
	}
	g.postAt(off, rxBuffer)
	return h, payload, true
}

// recv waits for the next packet, whose addresses and length must be right.
func (g *fakeGuest) recv() (h header, payload []byte) {
	g.t.Helper()
	g.wait("packet from the device", func() (ok bool) { h, payload, ok = g.poll(); return ok })
	if h.srcCID != HostCID || h.dstCID != testCID || int(h.len) != len(payload) {
		g.t.Errorf("packet %+v with %d bytes", h, len(payload))
	}
	return h, payload
}

// expect waits for a packet of one operation.
func (g *fakeGuest) expect(op uint16) header {
	g.t.Helper()
	h, _ := g.recv()
	if h.op != op {
		g.t.Fatalf("operation %d, want %d: %+v", h.op, op, h)
	}
	return h
}

// quiet checks that the device has nothing to say, by a question it has to answer.
func (g *fakeGuest) quiet() {
	g.t.Helper()
	g.send(g.packet(opData, 9, 0xfffffff9), nil) // no such connection
	if h := g.expect(opReset); h.dstPort != 0xfffffff9 {
		g.t.Fatalf("unexpected packet %+v", h)
	}
}

// packet makes a header from guest port src to host port dst.
func (g *fakeGuest) packet(op uint16, dst, src uint32) header {
	return header{srcCID: testCID, dstCID: HostCID, srcPort: src, dstPort: dst, kind: typeStream, op: op, bufAlloc: 1 << 18}
}

// data makes a data packet with its length.
func (g *fakeGuest) data(dst, src uint32, payload []byte) (header, []byte) {
	h := g.packet(opData, dst, src)
	h.len = uint32(len(payload))
	return h, payload
}

// dialed has the host connect to a port, and accepts. It returns the host's end and the host's port.
func (g *fakeGuest) dialed(port uint32) (*Conn, uint32) {
	g.t.Helper()
	return g.dialedWith(port, 1<<18)
}

func (g *fakeGuest) dialedWith(port, alloc uint32) (*Conn, uint32) {
	g.t.Helper()
	type result struct {
		c   any
		err error
	}
	got := make(chan result, 1)
	go func() {
		c, err := g.dev.Dial(context.Background(), port)
		got <- result{c, err}
	}()
	h := g.expect(opRequest)
	answer := g.packet(opResponse, h.srcPort, port)
	answer.bufAlloc = alloc
	g.send(answer, nil)
	r := <-got
	if r.err != nil {
		g.t.Fatal(r.err)
	}
	c := r.c.(*Conn)
	g.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c, h.srcPort
}
