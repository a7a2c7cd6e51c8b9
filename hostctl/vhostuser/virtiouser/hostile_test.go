package virtiouser

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser/guestmem"
)

// lone is a port whose device is the test.
func lone(t testing.TB, packed bool) *Pair {
	t.Helper()
	c, err := Config{Size: 8, Frame: 100, Packed: packed}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	p := &Port{cfg: c}
	if err := p.plan(featureMrgRxbuf); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	p.fds = append(p.fds, fd)
	t.Cleanup(func() {
		if err := p.release(); err != nil {
			t.Error(err)
		}
	})
	for _, s := range p.rings() {
		s.begin(fd)
	}
	return p.pairs[0]
}

// use is what a device does that gives back buffer id with n bytes, the i-th since the ring began.
func (s *side) use(i int, id uint16, n uint32) {
	switch q := s.ring.(type) {
	case *split:
		binary.LittleEndian.PutUint64(q.m.mem[q.used+usedRing+usedEntry*(i%8):], uint64(id)|uint64(n)<<32)
		guestmem.Store32(q.m.mem, q.used, uint32(i+1)<<16)
	case *packed:
		at := q.desc + descSize*(i%8)
		binary.LittleEndian.PutUint32(q.m.mem[at+8:], n)
		guestmem.Store32(q.m.mem, at+descWord, uint32(id)|q.used(uint16(i)))
	}
}

// parts writes the number of buffers to a header.
func (s *side) parts(id uint16, n uint16) { binary.LittleEndian.PutUint16(s.bytes(id)[numBuffers:], n) }

// TestHostileDevice: what is not the device's to say breaks the ring, for good, and nothing else.
func TestHostileDevice(t *testing.T) {
	for _, packed := range []bool{false, true} {
		for name, fault := range map[string]func(s *side){
			"a buffer there is not":   func(s *side) { s.use(0, 8, 20) },
			"a buffer twice":          func(s *side) { s.parts(1, 1); s.use(0, 1, 20); s.use(1, 1, 20) },
			"more than it has room":   func(s *side) { s.use(0, 0, headerSize+mrgRoom+1) },
			"a frame of no buffers":   func(s *side) { s.parts(0, 0); s.use(0, 0, 20) },
			"a frame of all and more": func(s *side) { s.parts(0, 9); s.use(0, 0, 20) },
			"half a frame":            func(s *side) { s.parts(0, 2); s.use(0, 0, 20) },
		} {
			q := lone(t, packed)
			fault(&q.rx)
			frames := make([][]byte, 8)
			var err error
			for range 2 { // what came before the fault is given first
				if _, err = q.Receive(frames); err != nil {
					break
				}
				q.Release()
			}
			if !errors.Is(err, ErrBroken) {
				t.Errorf("packed %v, %s: %v", packed, name, err)
			}
			if _, err := q.Receive(frames); !errors.Is(err, ErrBroken) {
				t.Errorf("packed %v, %s: afterwards %v", packed, name, err)
			}
			if n, err := q.Reserve(frames); n != 8 || err != nil {
				t.Errorf("packed %v, %s: the other ring has room for %d, %v", packed, name, n, err)
			}
		}
	}
	q := lone(t, false)
	r := q.rx.ring.(*split)
	guestmem.Store32(r.m.mem, r.used, 9<<16)
	if _, err := q.Receive(make([][]byte, 1)); !errors.Is(err, ErrBroken) {
		t.Errorf("index too far: %v", err)
	}
}

// TestAnyOrder: a device may give buffers back in another order than it got them.
func TestAnyOrder(t *testing.T) {
	for _, packed := range []bool{false, true} {
		q := lone(t, packed)
		frames := make([][]byte, 8)
		for lap := range 5 {
			if n, err := q.Reserve(frames); n != 8 || err != nil {
				t.Fatalf("lap %d: room for %d, %v", lap, n, err)
			}
			ids := make([]uint16, 8)
			for i := range frames {
				ids[i] = q.tx.peek(i)
				frames[i] = frames[i][:20]
			}
			q.Send(frames)
			for i := range 8 {
				q.tx.use(8*lap+i, ids[(i*3)%8], 0)
			}
			if n, err := q.Pending(); n != 0 || err != nil {
				t.Fatalf("lap %d: %d pending, %v", lap, n, err)
			}
		}
	}
}

// TestKicks: only a device that wants it is kicked.
func TestKicks(t *testing.T) {
	for _, isPacked := range []bool{false, true} {
		q := lone(t, isPacked)
		kicked := func() bool {
			frames := make([][]byte, 1)
			if n, err := q.Reserve(frames); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			frames[0] = frames[0][:20]
			q.Send(frames)
			var b [8]byte
			n, _ := unix.Read(q.tx.kick, b[:])
			return n == 8
		}
		if !kicked() {
			t.Error("a device that says nothing is not kicked")
		}
		switch r := q.tx.ring.(type) {
		case *split:
			guestmem.Store32(r.m.mem, r.used, noKick)
		case *packed:
			guestmem.Store32(r.m.mem, r.device, eventNone)
		}
		if kicked() {
			t.Error("a device that wants no kicks is kicked")
		}
	}
}

// FuzzDevice has a device write what it likes where it may: no panic, and buffers stay ours or its.
func FuzzDevice(f *testing.F) {
	f.Add(false, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add(true, []byte{9, 0, 128, 1, 7, 7, 7, 200, 30, 1, 2, 3})
	f.Fuzz(func(t *testing.T, packed bool, ops []byte) {
		q := lone(t, packed)
		frames := make([][]byte, 5)
		for i := 0; i+4 <= len(ops); i += 4 {
			s := &q.rx
			if ops[i]&1 != 0 {
				s = &q.tx
			}
			switch ops[i] >> 1 & 3 {
			case 0:
				s.use(int(ops[i+1]), uint16(ops[i+2]), uint32(ops[i+3])<<4)
			case 1:
				s.parts(uint16(ops[i+1]&7), uint16(ops[i+2]))
			case 2:
				if n, err := q.Reserve(frames); err == nil {
					for k := range n {
						frames[k] = frames[k][:20]
					}
					q.Send(frames[:n])
				}
			case 3:
				_, _ = q.Receive(frames)
				q.Release()
			}
		}
		if n, _ := q.Pending(); n < 0 || n > 8 {
			t.Errorf("%d pending of 8", n)
		}
	})
}
