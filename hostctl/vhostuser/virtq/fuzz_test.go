package virtq

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"picolab/hostctl/vhostuser/internal/frontend"
)

// FuzzWalk writes random bytes over descriptors, avail ring and an indirect table, and compares what is popped with a naive
// reference that knows nothing of regions, streams and batches.
func FuzzWalk(f *testing.F) {
	const size = 8
	le := binary.LittleEndian
	one := func(addr uint64, n uint32, flags, next uint16) []byte {
		b := le.AppendUint64(nil, addr)
		b = le.AppendUint32(b, n)
		b = le.AppendUint16(b, flags)
		return le.AppendUint16(b, next)
	}
	const gpa = 1 << 30
	f.Add(one(gpa+0x1000, 100, 0, 0), []byte{0, 0}, uint16(1), true, byte(2))
	f.Add(bytes.Join([][]byte{one(gpa+0x1000, 8, 1, 1), one(gpa+0x1100, 8, 3, 2), one(gpa, 9, 2, 0)}, nil), []byte{0, 0}, uint16(1), true, byte(2))
	f.Add(one(gpa+0x1000, 8, 1, 0), []byte{0, 0}, uint16(1), false, byte(0))
	f.Add(append(one(gpa+tableOff, 32, 4, 0), make([]byte, 7*16)...), []byte{0, 0, 0, 0}, uint16(2), true, byte(0))
	f.Add(one(gpa+0x3fff0, 32, 2, 0), []byte{0, 0, 1, 0, 255, 255}, uint16(8), true, byte(0))
	f.Add(one(^uint64(0), 1<<31, 0, 0), []byte{0, 0}, uint16(9), true, byte(0))
	s := newSetup(f, size, allFeatures)
	s.mem.Alloc(tableOff + 64)
	f.Fuzz(func(t *testing.T, desc, avail []byte, idx uint16, indirect bool, batch byte) {
		m := s.mem.Mem
		clear(m[:tableOff+64])
		clear(m[s.ring.Desc:][:16*size])
		n := copy(m[s.ring.Desc:][:16*size], desc)
		copy(m[tableOff:][:64], desc[n:])
		copy(m[s.ring.Avail+4:][:2*size], avail)
		s.ring.SetAvailIdx(idx)
		features := uint64(allFeatures)
		if !indirect {
			features = FeatureVersion1
		}
		q, err := New(s.config(features))
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		var chains [size]Chain
		for i, k := uint16(0), 1+int(batch)%size; ; {
			n, err := q.PopBatch(chains[:k])
			for j := range n {
				checkPopped(t, &chains[j], naivePop(s, i, idx, indirect))
				i++
			}
			if n == k {
				continue
			}
			if want := naivePop(s, i, idx, indirect); n == 0 && (want.ok || want.broken != errors.Is(err, ErrBroken)) {
				t.Fatalf("pop %d: %v, want %+v", i, err, want)
			}
			if n == 0 {
				break
			}
		}
	})
}

// checkPopped compares a buffer with what it has to be.
func checkPopped(t *testing.T, c *Chain, want naive) {
	t.Helper()
	if !want.ok || c.Readable() != len(want.in) || c.Writable() != want.out || readAll(c) != string(want.in) {
		t.Fatalf("%d in, %d out; want %+v", c.Readable(), c.Writable(), want)
	}
}

const tableOff = 0x2000

type naive struct {
	ok, broken bool
	in         []byte
	out        int
}

// naivePop computes what the n-th Pop of a fresh queue has to return.
func naivePop(s *setup, n, idx uint16, indirect bool) (res naive) {
	m, le, size := s.mem.Mem, binary.LittleEndian, s.ring.Size
	bad := naive{broken: true}
	if int(idx) > size {
		return bad
	}
	if n >= idx {
		return naive{}
	}
	table, count := m[s.ring.Desc:][:16*size], size
	i, steps, nested := int(le.Uint16(m[s.ring.Avail+4+2*int(n):])), 0, false
	wrote := false
	for {
		if i >= count {
			return bad
		}
		d := table[16*i : 16*i+16]
		addr, length, flags := le.Uint64(d), int(le.Uint32(d[8:])), le.Uint16(d[12:])
		off := addr - s.mem.GPA
		inside := off < memorySize && uint64(length) <= memorySize-off
		if flags&frontend.Indirect != 0 {
			if !indirect || nested || flags&frontend.Next != 0 || length == 0 || length%16 != 0 || length > MaxSize*16 || !inside {
				return bad
			}
			table, count, i, nested = m[off:][:length], length/16, 0, true
			continue
		}
		steps++
		if steps > size || !inside {
			return bad
		}
		if flags&frontend.Write != 0 {
			wrote, res.out = true, res.out+length
		} else if wrote {
			return bad
		} else {
			res.in = append(res.in, m[off:][:length]...)
		}
		if flags&frontend.Next == 0 {
			res.ok = true
			return res
		}
		i = int(le.Uint16(d[14:]))
	}
}
