package vnet

import (
	"bytes"
	"testing"
	"time"

	"picolab/hostctl/vhostuser/internal/frontend"
)

// whole has the guest send a frame whose header and data are one piece, as drivers do, and returns where.
func (g *guest) whole(h Header, frame []byte) frontend.Buf {
	b := g.piece(append(encoded(h), frame...))
	g.tx[0].Add(b)
	return b
}

// TestBorrow: frames that are complete lie in the guest's memory, which has them back only with Return; others are copies, and
// so are all where the memory is not sealed.
func TestBorrow(t *testing.T) {
	for _, sealed := range []bool{true, false} {
		everyRing(t, func(t *testing.T, ring uint64) {
			mem := frontend.NewMemory(t, 4<<20)
			if !sealed {
				mem = frontend.NewUnsealedMemory(t, 4<<20, 0)
			}
			g := newGuestIn(t, mem, 1, testOffload|ring)
			csum := Header{Flags: NeedsCsum, CsumStart: 34, CsumOffset: 16}
			plain, offloaded := g.whole(Header{}, pattern(1514, 1)), g.whole(csum, pattern(1514, 2))
			g.send(0, Header{}, pattern(60, 3)) // in two pieces
			g.whole(Header{}, pattern(10, 4))   // too short
			f := make([]Frame, 8)
			n, err := g.port.Borrow(0, f)
			if n != 3 || err != nil || f[1].Header != csum || f[0].Header != (Header{}) {
				t.Fatalf("%d frames, %v, %+v", n, err, f[1].Header)
			}
			for i := range n {
				if want := pattern([]int{1514, 1514, 60}[i], i+1); !bytes.Equal(f[i].Data, want) {
					t.Errorf("frame %d: %d bytes", i, len(f[i].Data))
				}
			}
			for _, b := range []frontend.Buf{plain, offloaded} {
				g.mem.Mem[b.Off+headerSize]++
			}
			if lent := f[0].Data[0] != pattern(1514, 1)[0]; lent != sealed {
				t.Errorf("sealed %v: the frame is lent: %v", sealed, lent)
			}
			if f[1].Data[0] != pattern(1514, 2)[0] {
				t.Error("what is to be completed is not a copy")
			}
			if _, _, ok := g.tx[0].Take(); ok == sealed {
				t.Errorf("sealed %v: the guest has a buffer back before Return: %v", sealed, ok)
			}
			g.port.Return(0)
			g.port.Return(0) // does nothing
			for range 4 {
				g.tx[0].Take()
			}
			if _, _, ok := g.tx[0].Take(); ok {
				t.Error("more buffers than were sent")
			}
			if s := g.port.Stats(); s.FromFrames != 3 || s.FromBytes != 1514+1514+60 || s.FromBad != 1 {
				t.Errorf("%+v", s)
			}
			if n, err := g.port.Borrow(0, f); n != 0 || err != nil {
				t.Errorf("%d frames of an empty ring, %v", n, err)
			}
		})
	}
}

// TestBorrowBeforeABreach: what a driver sent before it broke the ring is good, whether the memory is sealed or not.
func TestBorrowBeforeABreach(t *testing.T) {
	for _, mem := range []*frontend.Memory{frontend.NewMemory(t, 4<<20), frontend.NewUnsealedMemory(t, 4<<20, 0)} {
		g := newGuestIn(t, mem, 1, testOffload)
		g.whole(Header{}, pattern(100, 1))
		g.tx[0].(*frontend.Ring).Offer(testSize) // beyond the table
		f := make([]Frame, 8)
		if n, err := g.port.Borrow(0, f); n != 1 || err != nil || !bytes.Equal(f[0].Data, pattern(100, 1)) {
			t.Errorf("%d frames, %v", n, err)
		}
		g.port.Return(0)
		if n, err := g.port.Borrow(0, f); n != 0 || err != ErrDown {
			t.Errorf("after the breach: %d frames, %v", n, err)
		}
	}
}

// TestBorrowHoldsTheRing: a front-end that wants a ring to stop waits for what is lent.
func TestBorrowHoldsTheRing(t *testing.T) {
	g := newGuest(t, 1, testOffload)
	g.whole(Header{}, pattern(100, 1))
	f := make([]Frame, 1)
	if n, err := g.port.Borrow(0, f); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	stopped := make(chan uint32, 1)
	go func() { stopped <- g.Stop(1) }()
	select {
	case <-stopped:
		t.Fatal("the ring stopped under a frame that is lent")
	case <-time.After(50 * time.Millisecond):
	}
	if !bytes.Equal(f[0].Data, pattern(100, 1)) {
		t.Error("another frame")
	}
	g.port.Return(0)
	if base := <-stopped; base != 1 {
		t.Errorf("base %d", base)
	}
	if _, err := g.port.Borrow(0, f); err != ErrDown {
		t.Errorf("of a ring that stopped: %v", err)
	}
}

// TestBorrowAnnounces: Borrow speaks for the guest as Take does.
func TestBorrowAnnounces(t *testing.T) {
	g := newGuest(t, 1, testOffload)
	g.Do(19, []byte{0x52, 0x54, 0, 1, 2, 3, 0, 0})
	f := make([]Frame, 2)
	if n, err := g.port.Borrow(0, f); n != 1 || err != nil || len(f[0].Data) != rarpSize {
		t.Errorf("%d frames, %v", n, err)
	}
	g.port.Return(0)
}

// TestBorrowAllocatesNothing: what is counted is the driver's, and so the same without any.
func TestBorrowAllocatesNothing(t *testing.T) {
	g := newGuest(t, 1, testOffload)
	b := g.piece(append(encoded(Header{}), pattern(60, 1)...))
	f := make([]Frame, 4)
	count := func(borrow func() (int, error)) float64 {
		return testing.AllocsPerRun(50, func() {
			g.tx[0].Add(b)
			if n, err := borrow(); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			g.port.Return(0)
			g.tx[0].Take()
		})
	}
	lent := count(func() (int, error) { return g.port.Borrow(0, f) })
	room := frames(4, 2048)
	if taken := count(func() (int, error) { return g.port.Take(0, room) }); lent > taken {
		t.Errorf("%v allocations, %v to take", lent, taken)
	}
}
