package vvsock

import (
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser/internal/frontend"
)

// BenchmarkDevice is the device alone, with a driver in this process that does nothing but keep the rings busy: what it can
// carry when the guest is not the limit. An operation is 1 MiB; buffers and packets are those of Linux.
func BenchmarkDevice(b *testing.B) {
	b.Run("ToGuest", benchToGuest)
	b.Run("FromGuest", benchFromGuest)
}

const (
	benchBytes  = 1 << 20
	benchPacket = 64 << 10
)

func benchToGuest(b *testing.B) {
	g := connectGuest(b, newDevice(b, nil))
	for range 64 {
		g.post(3776)
	}
	c, port := g.dialedWith(7, 1<<20)
	go func() {
		for buf := make([]byte, 256<<10); ; {
			if _, err := c.Write(buf); err != nil {
				return
			}
		}
	}()
	b.SetBytes(benchBytes)
	b.ReportAllocs()
	got, told := uint32(0), uint32(0)
	for b.Loop() {
		for end := got + benchBytes; int32(end-got) > 0; {
			n := g.consume()
			if got += n; got-told > 256<<10 {
				told = got
				h := g.packet(opCreditUpdate, port, 7)
				h.bufAlloc, h.fwdCnt = 1<<20, got
				g.txRoom = 0
				g.put(h)
				frontend.Kick(g.txKick)
			}
			for _, _, ok := g.tx.Take(); ok; _, _, ok = g.tx.Take() {
			}
		}
	}
	_ = c.Close()
}

// consume takes one buffer without a look at it, and returns its payload's length. Like Linux, it posts buffers anew once
// half of them are used up.
func (g *fakeGuest) consume() uint32 {
	head, n, ok := g.rx.Take()
	if !ok {
		frontend.Called(g.rxCall)
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(g.rxCall), Events: unix.POLLIN}}, 1)
		return 0
	}
	g.usedUp = append(g.usedUp, g.buffers[head])
	delete(g.buffers, head)
	if len(g.usedUp) == 32 {
		for _, off := range g.usedUp {
			g.buffers[g.rx.Add(frontend.Buf{Off: off, Len: 3776, Write: true})] = off
		}
		g.usedUp = g.usedUp[:0]
		frontend.Kick(g.rxKick)
	}
	return uint32(n - headerSize)
}

func benchFromGuest(b *testing.B) {
	g := connectGuest(b, newDevice(b, nil))
	for range 16 {
		g.post(rxBuffer)
	}
	c, port := g.dialed(7)
	l := g.dev.loop
	h := g.packet(opData, port, 7)
	h.len = benchPacket
	b.SetBytes(benchBytes)
	b.ReportAllocs()
	buf := make([]byte, 256<<10)
	h.put((*[headerSize]byte)(g.mem.Mem[g.txBase:]))
	for b.Loop() {
		for range 4 { // a quarter of a MiB at a time, which is the credit
			for range bufAllocLarge / benchPacket {
				g.tx.Add(frontend.Buf{Off: g.txBase, Len: headerSize}, frontend.Buf{Off: g.txBase + 4096, Len: benchPacket})
			}
			frontend.Kick(g.txKick)
			if _, err := io.ReadFull(c, buf); err != nil {
				b.Fatal(err)
			}
			for _, _, ok := g.tx.Take(); ok; _, _, ok = g.tx.Take() {
			}
		}
	}
	l.mu.Lock()
	violations := l.stats.Violations
	l.mu.Unlock()
	if violations != 0 {
		b.Error("credit overrun")
	}
}
