package vvsock

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser"
	"picolab/hostctl/vhostuser/guestmem"
	"picolab/hostctl/vhostuser/internal/frontend"
	"picolab/hostctl/vhostuser/internal/leak"
	"picolab/hostctl/vhostuser/virtq"
)

// world is a loop whose rings and turns are in the hands of the test: no goroutine, no server.
type world struct {
	t      *testing.T
	l      *loop
	mem    *frontend.Memory
	rx, tx *frontend.Ring
	rxq    virtq.Queue
	txq    virtq.Queue
	at     map[uint16]int // offset of an RX buffer
	host   []*net.UnixConn
	told   map[key]*account
}

// account is what an honest observer knows of a connection's credit.
type account struct {
	alloc, consumed uint32 // as the guest said last
	got             uint32 // bytes the guest has received
}

const worldSocket = "/vvsock/fuzz/does/not/exist"

func newWorld(t *testing.T, mem *frontend.Memory, gm *guestmem.Memory) *world {
	mem.Reset()
	w := &world{t: t, mem: mem, at: make(map[uint16]int), told: make(map[key]*account)}
	cfg := &Config{GuestCID: testCID, UDS: worldSocket}
	cfg.setDefaults()
	var err error
	if w.l, err = newLoop(cfg, -1); err != nil {
		t.Fatal(err)
	}
	w.l.start()
	w.l.rings = [numRings]*vhostuser.Ring{{}, {}} // they only have to be there
	clear(mem.Mem[:1<<16])
	w.rx, w.tx = frontend.NewRing(mem, 16, true), frontend.NewRing(mem, 16, true)
	w.rxq, w.txq = newQueue(t, gm, w.rx), newQueue(t, gm, w.tx)
	for range 8 {
		w.post(mem.Alloc(200))
	}
	return w
}

func newQueue(t *testing.T, gm *guestmem.Memory, r *frontend.Ring) virtq.Queue {
	user := func(off int) uint64 { return r.Mem.UVA + uint64(off) }
	q, err := virtq.New(virtq.Config{Size: r.Size, Features: virtq.FeatureEventIdx, Memory: gm,
		Desc: user(r.Desc), Avail: user(r.Avail), Used: user(r.Used)})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func (w *world) post(off int) {
	w.at[w.rx.Add(frontend.Buf{Off: off, Len: 200, Write: true})] = off
}

func (w *world) close() {
	for _, c := range w.host {
		_ = c.Close()
	}
	w.l.release()
	w.rxq.Close()
	w.txq.Close()
}

// turn lets the loop see its events and work both rings, and the guest take what came.
func (w *world) turn() {
	var events [64]unix.EpollEvent
	n, _ := unix.EpollWait(w.l.epfd, events[:], 0)
	for i := range events[:max(n, 0)] {
		w.l.event(&events[i])
	}
	w.l.startDials()
	for _, step := range []struct {
		q  virtq.Queue
		fn func(virtq.Queue) error
	}{{w.txq, w.l.drainTX}, {w.rxq, w.l.fillRX}} {
		if err := step.fn(step.q); err != nil {
			w.t.Fatal(err)
		}
		step.q.Abort()
		step.q.Flush()
	}
	for _, _, ok := w.tx.Take(); ok; _, _, ok = w.tx.Take() {
	}
	for w.receive() {
	}
	if w.l.used > MaxConnections || w.l.resets.len() > maxResets || len(w.l.opening) > MaxPending {
		w.t.Fatalf("limits: %d connections, %d resets, %d opening", w.l.used, w.l.resets.len(), len(w.l.opening))
	}
}

// receive checks one packet of the device.
func (w *world) receive() bool {
	head, n, ok := w.rx.Take()
	if !ok {
		return false
	}
	off := w.at[head]
	h := parseHeader((*[headerSize]byte)(w.mem.Mem[off:]))
	if n != headerSize+int(h.len) || h.srcCID != HostCID || h.dstCID != testCID || h.len > 0 && h.op != opData {
		w.t.Fatalf("%d bytes: %+v", n, h)
	}
	k := key{h.srcPort, h.dstPort}
	switch h.op {
	case opRequest:
		w.told[k] = &account{}
	case opReset:
		delete(w.told, k)
	case opData:
		a := w.told[k]
		if a == nil {
			w.t.Fatalf("data for a connection that is not open: %+v", h)
		}
		if a.got += h.len; a.got-a.consumed > a.alloc {
			w.t.Fatalf("%d bytes beyond the credit: %+v", a.got-a.consumed-a.alloc, h)
		}
	}
	w.post(off)
	return true
}

// send sends a packet whose payload is a piece of memory that exists.
func (w *world) send(h header) {
	if len(w.tx.Free) == 0 {
		return
	}
	var b [headerSize]byte
	h.put(&b)
	const off = 1 << 16
	copy(w.mem.Mem[off:], b[:])
	w.tx.Add(frontend.Buf{Off: off, Len: headerSize + 100})
	w.turn()
}

func (w *world) dial(port uint32) {
	ours, theirs, err := socketPair()
	if err != nil {
		w.t.Fatal(err)
	}
	w.host = append(w.host, ours)
	if err := w.l.queueDial(&conn{key: key{guest: port}, fd: theirs, result: make(chan error, 1)}); err != nil {
		w.t.Fatal(err)
	}
	w.turn()
}

// FuzzPackets plays packets of the guest and deeds of the host, three bytes each, against the connection machine, and checks
// that credit is kept to, that limits hold, and that nothing is left.
func FuzzPackets(f *testing.F) {
	f.Add([]byte{11, 0, 0, 2, 0, 200, 8, 0, 50, 5, 0, 100, 6, 0, 255, 4, 0, 3})
	f.Add([]byte{11, 1, 0, 2, 0x10, 9, 8, 0, 255, 6, 0x10, 30, 10, 0, 0, 4, 0x10, 1, 4, 0x10, 2})
	f.Add([]byte{11, 0, 0, 11, 0, 0, 2, 0, 9, 2, 1, 9, 12, 0, 0, 3, 0, 0, 5, 1, 255, 13, 77, 3})
	f.Add([]byte{1, 7, 7, 3, 7, 7, 5, 9, 1, 11, 0, 0, 3, 0, 0, 7, 0, 0})
	mem := frontend.NewMemory(f, 1<<18)
	gm := guestmem.New()
	f.Cleanup(gm.Close)
	if err := gm.Add(guestmem.Region{GuestAddr: mem.GPA, Size: 1 << 18, UserAddr: mem.UVA}, mem.FD); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		before := leak.Now()
		w := newWorld(t, mem, gm)
		for ; len(ops) >= 3; ops = ops[3:] {
			w.do(ops[0], uint32(ops[1]), uint32(ops[2]))
		}
		w.close()
		if err := leak.Settles(before); err != nil {
			t.Error(err)
		}
	})
}

func (w *world) do(op byte, a, b uint32) {
	switch op &= 15; op {
	case 8, 9, 10, 12:
		w.hostDoes(op, a, b)
	case 11:
		w.dial(a & 3)
	default:
		w.send(w.packet(op, a, b))
	}
}

func (w *world) packet(op byte, a, b uint32) header {
	k := key{host: firstPort + a&15, guest: a >> 4}
	h := header{srcCID: testCID, dstCID: HostCID, srcPort: k.guest, dstPort: k.host, kind: typeStream, op: uint16(op)}
	switch op {
	case opShutdown:
		h.flags = b
	case opData:
		h.len = b % 130 // sometimes more than there is
	case 13:
		h.srcCID, h.kind, h.op = uint64(a), uint16(b), uint16(b)
		return h
	}
	if acc := w.told[k]; acc != nil && h.len <= 100 { // the guest is honest about what it has received
		acc.alloc, acc.consumed = b*3, acc.got
		h.bufAlloc, h.fwdCnt = acc.alloc, acc.consumed
	}
	return h
}

// hostDoes lets one of the host's ends write, read, close or half-close.
func (w *world) hostDoes(op byte, a, b uint32) {
	if len(w.host) == 0 {
		return
	}
	c := w.host[int(a)%len(w.host)]
	_ = c.SetDeadline(time.Now().Add(time.Millisecond))
	switch op {
	case 8:
		_, _ = c.Write(make([]byte, b*4))
	case 9:
		_, _ = c.Read(make([]byte, b+1))
	case 10:
		_ = c.Close()
	default:
		_ = c.CloseWrite()
	}
	w.turn()
}
