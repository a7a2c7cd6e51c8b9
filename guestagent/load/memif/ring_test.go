package memif

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// benched is a server's end of a ring in memory of the test's.
func benched(mem []byte, log2 uint8, sending bool) *ring {
	clear(mem[:ringDesc])
	binary.LittleEndian.PutUint32(mem, cookie)
	r := &ring{fd: -1, sending: sending}
	if err := r.locate([][]byte{mem}, 0, 0, log2); err != nil {
		panic(err)
	}
	r.start([][]byte{mem})
	return r
}

const fuzzLog2, fuzzMemory = 3, 4096

// FuzzRing writes anything over head, tail and descriptors, and compares what the server takes, and where it puts something,
// with a naive reference.
func FuzzRing(f *testing.F) {
	entry := func(flags, region uint16, length, offset uint32) []byte {
		b := binary.LittleEndian.AppendUint16(nil, flags)
		b = binary.LittleEndian.AppendUint16(b, region)
		b = binary.LittleEndian.AppendUint32(b, length)
		b = binary.LittleEndian.AppendUint32(b, offset)
		return binary.LittleEndian.AppendUint32(b, 0)
	}
	f.Add(uint16(1), entry(0, 0, 60, 1024), byte(3))
	f.Add(uint16(3), bytes.Join([][]byte{entry(1, 0, 60, 1024), entry(1, 0, 10, 2000), entry(0, 0, 9, 100)}, nil), byte(8))
	f.Add(uint16(8), bytes.Repeat(entry(1, 0, 60, 1024), 8), byte(8))
	f.Add(uint16(2), append(entry(0, 0, 5, 1024), entry(0, 1, 60, 0)...), byte(2))
	f.Add(uint16(9), entry(0, 0, 60, 0xffffffff), byte(1))
	f.Add(uint16(1), entry(0, 0, 0xffffffff, 0xffffffff), byte(1))
	fd, mem, err := makeRegion(fuzzMemory)
	if err != nil {
		f.Fatal(err)
	}
	defer unix.Munmap(mem)
	defer unix.Close(fd)
	copied := make([]byte, fuzzMemory)
	f.Fuzz(func(t *testing.T, head uint16, desc []byte, frames byte) {
		clear(mem)
		r := benched(mem, fuzzLog2, false)
		copy(mem[ringDesc:][:descSize<<fuzzLog2], desc)
		r.view.storeHead(head)
		copy(copied, mem)
		q := &batch{}
		q.run = func() error { return r.takeAll(q) }
		in := room(1+int(frames)%16, 512)
		err := r.work(q, in)
		want, bad, broken := naiveTake(copied, head, len(in))
		if broken != errors.Is(err, errBroken) || q.n != len(want) || q.bad != bad {
			t.Fatalf("%d taken, %d bad, %v; want %d, %d, broken %v", q.n, q.bad, err, len(want), bad, broken)
		}
		for i, w := range want {
			if !bytes.Equal(in[i], w) {
				t.Fatalf("frame %d: %x, want %x", i, in[i], w)
			}
		}
		s := benched(mem, fuzzLog2, true)
		copy(mem[ringDesc:][:descSize<<fuzzLog2], desc)
		s.view.storeHead(head)
		p := &batch{}
		p.run = func() error { return s.putAll(p) }
		if err := s.work(p, in[:q.n]); err != nil && !errors.Is(err, errBroken) {
			t.Fatal(err)
		}
	})
}

// naiveTake computes what a server has to take from a fresh ring.
func naiveTake(mem []byte, head uint16, frames int) (out [][]byte, bad uint64, broken bool) {
	const size = 1 << fuzzLog2
	if head > size {
		return nil, 0, true
	}
	for i := 0; i < int(head) && len(out) < frames; {
		var f []byte
		for more := true; more; {
			if i == int(head) { // without its end
				return out, bad, head == size && len(out) == 0 && bad == 0
			}
			d := mem[ringDesc+descSize*i:]
			flags, region := binary.LittleEndian.Uint16(d), binary.LittleEndian.Uint16(d[2:])
			n, off := uint64(binary.LittleEndian.Uint32(d[4:])), uint64(binary.LittleEndian.Uint32(d[8:]))
			if region != 0 || off+n > uint64(len(mem)) {
				return out, bad, true
			}
			f = append(f, mem[off:off+n]...)
			i, more = i+1, flags&flagNext != 0
		}
		if len(f) < minFrame || len(f) > 512 {
			bad++
			continue
		}
		out = append(out, f)
	}
	return out, bad, false
}

// TestMessages: what is encoded is read back, at the offsets of the protocol.
func TestMessages(t *testing.T) {
	h := hello{"name", 0x200, 0x201, 3, 4, 5, 14}
	if got := h.encode(); got.hello() != h || got[0] != 2 || got[34] != 0 || got[35] != 2 || got[44] != 14 {
		t.Errorf("%x", got)
	}
	i := initial{0x200, 7, 0, "secret", "name"}
	if got := i.encode(); got.initial() != i || got[4] != 7 || got[9] != 's' || got[33] != 'n' {
		t.Errorf("%x", got)
	}
	a := addRing{true, 1, 2, 0x01020304, 9}
	if got := a.encode(); got.addRing() != a || got[2] != 1 || got[8] != 4 || got[12] != 9 {
		t.Errorf("%x", got)
	}
	if m := encodeDisconnect(string(bytes.Repeat([]byte("x"), 200))); len(m.text(6, reasonSize)) != reasonSize-1 {
		t.Error("reason without end")
	}
}
