package virtq

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"picolab/hostctl/vhostuser/internal/frontend"
)

// entry encodes a descriptor of a packed ring.
func entry(addr uint64, n uint32, id, flags uint16) []byte {
	b := binary.LittleEndian.AppendUint64(nil, addr)
	b = binary.LittleEndian.AppendUint32(b, n)
	b = binary.LittleEndian.AppendUint16(b, id)
	return binary.LittleEndian.AppendUint16(b, flags)
}

// put writes entry i, available in the first lap unless flags say otherwise.
func (s *packedSetup) put(i int, off uint64, n uint32, flags uint16) {
	s.ring.Put(i, s.mem.GPA+off, n, uint16(i), flags^flagAvail)
}

// tableAt writes an entry of the indirect table at 0x2000.
func (s *packedSetup) tableAt(i int, off uint64, n uint32, flags uint16) {
	copy(s.mem.Mem[0x2000+16*i:], entry(s.mem.GPA+off, n, 0, flags))
}

// TestPackedHostileDrivers is TestHostileDrivers for packed rings.
func TestPackedHostileDrivers(t *testing.T) {
	const size = 8
	tests := []struct {
		name  string
		build func(s *packedSetup)
	}{
		{"the control queue's of 2026: a chain all around the ring", func(s *packedSetup) {
			for i := range size {
				s.put(i, 0x1000, 1, frontend.Next)
			}
		}},
		{"address outside", func(s *packedSetup) { s.put(0, 1<<40, 1, 0) }},
		{"second address outside", func(s *packedSetup) { s.put(0, 0x1000, 1, frontend.Next); s.put(1, 1<<40, 1, 0) }},
		{"CVE-2018-1059: end outside", func(s *packedSetup) { s.put(0, memorySize-1, 2, 0) }},
		{"CVE-2020-10725: bad address, length 0", func(s *packedSetup) { s.put(0, 1<<40, 0, 0) }},
		{"length 2^32-1", func(s *packedSetup) { s.put(0, 0, 0xffffffff, 0) }},
		{"readable after writable", func(s *packedSetup) {
			s.put(0, 0x1000, 1, frontend.Write|frontend.Next)
			s.put(1, 0x1000, 1, 0)
		}},
		{"indirect with next", func(s *packedSetup) { s.put(0, 0x2000, 16, frontend.Indirect|frontend.Next) }},
		{"indirect at the end of a chain", func(s *packedSetup) {
			s.put(0, 0x1000, 1, frontend.Next)
			s.put(1, 0x2000, 16, frontend.Indirect)
		}},
		{"indirect of length 0", func(s *packedSetup) { s.put(0, 0x2000, 0, frontend.Indirect) }},
		{"indirect of 17 bytes", func(s *packedSetup) { s.put(0, 0x2000, 17, frontend.Indirect) }},
		{"indirect longer than the ring", func(s *packedSetup) {
			for i := range size + 1 {
				s.tableAt(i, 0x1000, 1, 0)
			}
			s.put(0, 0x2000, 16*(size+1), frontend.Indirect)
		}},
		{"indirect of 2^32-16 bytes", func(s *packedSetup) { s.put(0, 0x2000, 0xfffffff0, frontend.Indirect) }},
		{"indirect outside", func(s *packedSetup) { s.put(0, memorySize-16, 32, frontend.Indirect) }},
		{"address in a table outside", func(s *packedSetup) {
			s.tableAt(1, memorySize-1, 2, 0)
			s.put(0, 0x2000, 32, frontend.Indirect)
		}},
		{"readable after writable in a table", func(s *packedSetup) {
			s.tableAt(0, 0x1000, 1, frontend.Write)
			s.put(0, 0x2000, 32, frontend.Indirect)
		}},
	}
	for _, tt := range tests {
		s := newPackedSetup(t, size, packedFeatures)
		s.mem.Alloc(0x10000)
		s.tableAt(0, 0x1000, 1, 0)
		s.tableAt(1, 0x1000, 1, 0)
		tt.build(s)
		var c Chain
		if ok, err := s.q.Pop(&c); ok || !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v, %v", tt.name, ok, err)
		}
		if _, err := s.q.Pop(&c); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: the queue healed: %v", tt.name, err)
		}
		if s.q.Flush() || s.q.EnableKick() || s.q.Base() != PackedBase {
			t.Errorf("%s: the broken queue still moves", tt.name)
		}
	}
}

// TestPackedTableFlags: flags other than the one for writable memory mean nothing in an indirect table.
func TestPackedTableFlags(t *testing.T) {
	s := newPackedSetup(t, 8, packedFeatures)
	s.mem.Alloc(0x10000)
	s.tableAt(0, 0x1000, 3, 0)
	s.tableAt(1, 0x1000, 4, frontend.Next|flagAvail|flagUsed|frontend.Write)
	s.put(0, 0x2000, 32, frontend.Indirect|frontend.Write)
	if c := s.pop(t); c.Readable() != 3 || c.Writable() != 4 {
		t.Errorf("%+v", c)
	}
}

func TestPackedIndirectNeedsFeature(t *testing.T) {
	s := newPackedSetup(t, 8, FeatureVersion1)
	s.mem.Alloc(0x10000)
	s.put(0, 0x2000, 16, frontend.Indirect)
	if _, err := s.q.Pop(&Chain{}); !errors.Is(err, ErrBroken) {
		t.Errorf("indirect without the feature: %v", err)
	}
}

// TestPackedCVE_2016_5403: a driver offers entries again before they are used, or used ones are published.
func TestPackedCVE_2016_5403(t *testing.T) {
	for _, push := range []bool{false, true} {
		s := newPackedSetup(t, 4, packedFeatures)
		d := driver{Packed: s.ring}
		popped := 0
		for range 4 * 4 {
			d.offer(s.mem.GPA+0x1000, 1, 0)
			c := &Chain{}
			ok, err := s.q.Pop(c)
			if errors.Is(err, ErrBroken) {
				break
			}
			if !ok {
				t.Fatal("nothing to pop")
			}
			if popped++; push {
				s.q.Push(c, 0)
			}
		}
		if popped != 4 {
			t.Errorf("pushed %v: %d buffers taken of a ring of 4", push, popped)
		}
	}
}

// TestPackedCVE_2020_14374 changes descriptor and table after they were popped.
func TestPackedCVE_2020_14374(t *testing.T) {
	s := newPackedSetup(t, 8, packedFeatures)
	s.mem.Alloc(0x10000)
	s.tableAt(0, 0x3000, 16, 0)
	s.put(0, 0x2000, 16, frontend.Indirect)
	c := s.pop(t)
	s.ring.Put(0, 1<<40, 0xffffffff, 77, frontend.Next)
	s.tableAt(0, 1<<50, 0xffffffff, frontend.Next)
	if n := c.Read(make([]byte, 100)); n != 16 {
		t.Errorf("read %d bytes", n)
	}
	s.q.Push(c, 0)
	s.q.Flush()
	if got := binary.LittleEndian.Uint16(s.mem.Mem[s.ring.Desc+12:]); got != 0 {
		t.Errorf("used id %d", got)
	}
}

// TestPackedCVE_2022_2132 spreads a header of 12 bytes over one to six entries.
func TestPackedCVE_2022_2132(t *testing.T) {
	for pieces := 1; pieces <= 6; pieces++ {
		s := newPackedSetup(t, 8, packedFeatures)
		var bufs []frontend.Buf
		for i := range pieces {
			bufs = append(bufs, s.text("0123456789ab"[12*i/pieces:12*(i+1)/pieces]))
		}
		s.ring.Add(append(bufs, s.text("payload"))...)
		c, h := s.pop(t), make([]byte, 12)
		if c.Read(h) != 12 || string(h) != "0123456789ab" || readAll(c) != "payload" {
			t.Errorf("%d pieces: %q", pieces, h)
		}
	}
}

// FuzzPacked writes random bytes over descriptors and an indirect table, begins at any base, and compares what is popped
// with a naive reference that goes by the text of the specification alone.
func FuzzPacked(f *testing.F) {
	const size = 8
	const gpa = 1 << 30
	a := uint16(flagAvail)
	f.Add(entry(gpa+0x1000, 100, 7, a), uint32(PackedBase), true, byte(2))
	f.Add(bytes.Join([][]byte{entry(gpa+0x1000, 8, 1, a|1), entry(gpa+0x1100, 8, 2, a|3), entry(gpa, 9, 3, a|2)}, nil), uint32(PackedBase), true, byte(2))
	f.Add(bytes.Repeat(entry(gpa+0x1000, 8, 1, a|1), 9), uint32(PackedBase), false, byte(0))
	f.Add(append(bytes.Repeat(entry(gpa+tableOff, 32, 4, a|4), 8), entry(gpa+0x1000, 5, 0, 2)...), uint32(0x80038003), true, byte(0))
	f.Add(bytes.Repeat(entry(gpa+0x3fff0, 32, 2, flagUsed), 8), uint32(0x00050005), true, byte(0))
	f.Add(bytes.Repeat(entry(gpa, 32, 2, a), 8), uint32(0x80058007), true, byte(0))
	f.Add(entry(^uint64(0), 1<<31, 0, a), uint32(PackedBase), true, byte(0))
	s := newPackedSetup(f, size, packedFeatures)
	s.mem.Alloc(tableOff + 64)
	f.Fuzz(func(t *testing.T, desc []byte, base uint32, indirect bool, batch byte) {
		m := s.mem.Mem
		clear(m[:tableOff+64])
		n := copy(m[s.ring.Desc:][:16*size], desc)
		copy(m[tableOff:][:64], desc[n:])
		features := uint64(packedFeatures)
		if !indirect {
			features = FeatureVersion1
		}
		cfg := s.config(features)
		cfg.Base = base
		q, err := New(cfg)
		ref := newNaivePacked(s, base, indirect)
		if (err != nil) != (ref == nil) {
			t.Fatalf("base %#x: %v", base, err)
		}
		if err != nil {
			return
		}
		defer q.Close()
		var chains [size]Chain
		for k := 1 + int(batch)%size; ; {
			n, err := q.PopBatch(chains[:k])
			for j := range n {
				want, id := ref.pop()
				if checkPopped(t, &chains[j], want); chains[j].id != id {
					t.Fatalf("id %d, want %d", chains[j].id, id)
				}
			}
			if n == k {
				continue
			}
			at := *ref
			if want, _ := ref.pop(); n == 0 && (want.ok || want.broken != errors.Is(err, ErrBroken)) {
				t.Fatalf("pop: %v, want %+v", err, want)
			}
			if n == 0 {
				break
			}
			*ref = at
		}
		ref.complete(t, q, base)
	})
}

// naivePacked keeps a place and a wrap counter, as the specification does.
type naivePacked struct {
	s        *packedSetup
	at       frontend.Place
	taken    int // entries in flight
	indirect bool
}

// newNaivePacked returns nil for a base that cannot be.
func newNaivePacked(s *packedSetup, base uint32, indirect bool) *naivePacked {
	half := func(v uint32) frontend.Place { return frontend.Place{Entry: int(v & 0x7fff), Wrap: v&0x8000 != 0} }
	avail, used := half(base), half(base>>16)
	if base>>16 == 0 {
		used = avail
	}
	taken := avail.Entry - used.Entry
	if avail.Wrap != used.Wrap {
		taken += s.ring.Size
	}
	if avail.Entry >= s.ring.Size || used.Entry >= s.ring.Size || taken < 0 || taken > s.ring.Size {
		return nil
	}
	return &naivePacked{s: s, at: avail, taken: taken, indirect: indirect}
}

func (r *naivePacked) desc(table []byte) (addr uint64, n int, id, flags uint16, in []byte, ok bool) {
	le := binary.LittleEndian
	addr, n, id, flags = le.Uint64(table), int(le.Uint32(table[8:])), le.Uint16(table[12:]), le.Uint16(table[14:])
	off := addr - r.s.mem.GPA
	if off >= memorySize || uint64(n) > memorySize-off {
		return addr, n, id, flags, nil, false
	}
	return addr, n, id, flags, r.s.mem.Mem[off:][:n], true
}

func (r *naivePacked) pop() (res naive, id uint16) {
	bad := naive{broken: true}
	wrote := false
	piece := func(b []byte, flags uint16) bool {
		if flags&frontend.Write != 0 {
			wrote, res.out = true, res.out+len(b)
		} else {
			res.in = append(res.in, b...)
		}
		return flags&frontend.Write != 0 || !wrote
	}
	for first := true; ; first = false {
		_, n, id, flags, b, inside := r.desc(r.s.mem.Mem[r.s.ring.Desc+16*r.at.Entry:])
		if first && flags&flagsOwner != r.at.Owner(false) {
			return naive{}, 0
		}
		if r.taken++; r.taken > r.s.ring.Size {
			return bad, 0
		}
		if r.at.Entry++; r.at.Entry == r.s.ring.Size {
			r.at = frontend.Place{Wrap: !r.at.Wrap}
		}
		if flags&frontend.Indirect != 0 {
			if !r.indirect || !first || flags&frontend.Next != 0 || n == 0 || n%16 != 0 || n/16 > r.s.ring.Size || !inside {
				return bad, 0
			}
			for ; len(b) > 0; b = b[16:] {
				_, _, _, f, p, ok := r.desc(b)
				if !ok || !piece(p, f) {
					return bad, 0
				}
			}
			res.ok = true
			return res, id
		}
		if !inside || !piece(b, flags) {
			return bad, 0
		}
		if flags&frontend.Next == 0 {
			res.ok = true
			return res, id
		}
	}
}

// complete checks that giving everything back leaves the queue where it was.
func (r *naivePacked) complete(t *testing.T, q Queue, base uint32) {
	q.Abort()
	if base>>16 == 0 {
		base |= base << 16
	}
	if got := q.Base(); got != base {
		t.Fatalf("base %#x after an abort, want %#x", got, base)
	}
}
