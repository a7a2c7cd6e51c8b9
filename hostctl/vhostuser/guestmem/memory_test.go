package guestmem

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser/internal/frontend"
	"picolab/hostctl/vhostuser/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

const page = 4096

// three regions: 0x10000 and 0x12000 adjoin, with memory that does not; 0x20000 stands alone.
func regions() []Region {
	return []Region{
		{GuestAddr: 0x12000, Size: 2 * page, UserAddr: 0x7000_0000, Offset: 8 * page},
		{GuestAddr: 0x10000, Size: 2 * page, UserAddr: 0x7100_0000, Offset: 2 * page},
		{GuestAddr: 0x20000, Size: page, UserAddr: 0x7200_0000, Offset: 0},
	}
}

func newMemory(t *testing.T) (*Memory, *frontend.Memory) {
	t.Helper()
	f := frontend.NewMemory(t, 16*page)
	m := New()
	t.Cleanup(m.Close)
	if err := m.Replace(regions(), []int{f.FD, f.FD, f.FD}); err != nil {
		t.Fatal(err)
	}
	return m, f
}

func TestGuest(t *testing.T) {
	m, f := newMemory(t)
	table := m.Acquire()
	defer table.Release()
	for i := range f.Mem {
		f.Mem[i] = byte(i / 16)
	}
	tests := []struct {
		name    string
		addr, n uint64
		pieces  int
		want    []byte // the memory's own bytes; nil: ErrRange
	}{
		{"inside", 0x10010, 32, 1, f.Mem[2*page+0x10:][:32]},
		{"whole region", 0x20000, page, 1, f.Mem[:page]},
		{"last byte", 0x20fff, 1, 1, f.Mem[page-1 : page]},
		{"split at a border", 0x11ff0, 32, 2, append(bytes.Clone(f.Mem[4*page-16:4*page]), f.Mem[8*page:8*page+16]...)},
		{"both regions", 0x10000, 4 * page, 2, append(bytes.Clone(f.Mem[2*page:4*page]), f.Mem[8*page:10*page]...)},
		{"empty", 0x10000, 0, 0, []byte{}},
		{"CVE-2020-10725: empty at a bad address", 0x30000, 0, 0, nil},
		{"empty at the end", 0x21000, 0, 0, nil},
		{"CVE-2018-1059: only the first byte is inside", 0x20fff, 2, 0, nil},
		{"into a hole", 0x13ff0, 0x1000, 0, nil},
		{"before", 0xffff, 2, 0, nil},
		{"wraps around", 0x20000, math.MaxUint64, 0, nil},
		{"wraps around to the end", 0x20000, math.MaxUint64 - 0x20000 + 1, 0, nil},
		{"huge address", math.MaxUint64, 1, 0, nil},
	}
	for _, tt := range tests {
		segs, err := table.Guest(nil, tt.addr, tt.n)
		if (tt.want == nil) != errors.Is(err, ErrRange) || len(segs) != tt.pieces {
			t.Errorf("%s: %d pieces, %v", tt.name, len(segs), err)
			continue
		}
		if got := bytes.Join(segs, nil); !bytes.Equal(got, tt.want) {
			t.Errorf("%s: got %x, want %x", tt.name, got, tt.want)
		}
	}
}

func TestUser(t *testing.T) {
	m, f := newMemory(t)
	table := m.Acquire()
	defer table.Release()
	if b, err := table.User(0x7100_0010, 16); err != nil || len(b) != 16 {
		t.Error(err)
	}
	b, err := table.User(0x7000_0000, 2*page)
	if err != nil {
		t.Fatal(err)
	}
	b[5] = 77
	if f.Mem[8*page+5] != 77 {
		t.Error("user address leads elsewhere")
	}
	for _, bad := range [][2]uint64{{0x7000_0000, 2*page + 1}, {0x6fff_ffff, 2}, {0, 1}, {0x7000_0010, math.MaxUint64}} {
		if _, err := table.User(bad[0], bad[1]); !errors.Is(err, ErrRange) {
			t.Errorf("%#x: %v", bad, err)
		}
	}
}

func TestReadWriteAcrossRegions(t *testing.T) {
	m, _ := newMemory(t)
	table := m.Acquire()
	defer table.Release()
	want := bytes.Repeat([]byte("picolab "), 100)
	if err := table.Write(want, 0x12000-300); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if err := table.Read(got, 0x12000-300); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read back %q, %v", got, err)
	}
	if err := table.Read(got, 0x20fff); !errors.Is(err, ErrRange) {
		t.Errorf("read over the end: %v", err)
	}
}

func TestBadRegions(t *testing.T) {
	f := frontend.NewMemory(t, 16*page)
	plain := frontend.NewUnsealedMemory(t, 16*page, unix.MFD_ALLOW_SEALING)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	tests := []struct {
		name string
		r    Region
		fd   int
		want error
	}{
		{"empty", Region{Size: 0}, f.FD, ErrRegion},
		{"CVE-2020-10722: size plus offset overflows", Region{Size: math.MaxUint64 - page + 1, Offset: page}, f.FD, ErrRegion},
		{"guest address overflows", Region{GuestAddr: math.MaxUint64, Size: page}, f.FD, ErrRegion},
		{"user address overflows", Region{UserAddr: math.MaxUint64 - 1, Size: page}, f.FD, ErrRegion},
		{"larger than the file", Region{Size: 17 * page}, f.FD, ErrRegion},
		{"offset beyond the file", Region{Size: page, Offset: 16 * page}, f.FD, ErrRegion},
		{"unsealed though it could be", Region{Size: page}, plain.FD, ErrSeal},
		{"a pipe", Region{Size: page}, pipe[0], ErrRegion},
		{"no descriptor", Region{Size: page}, -1, unix.EBADF},
	}
	before := leak.Now()
	for _, tt := range tests {
		m := New()
		if err := m.Add(tt.r, tt.fd); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		m.Close()
	}
	if err := leak.Settles(before); err != nil {
		t.Error(err)
	}
}

func TestAddRemove(t *testing.T) {
	f, other := frontend.NewMemory(t, 16*page), frontend.NewMemory(t, 16*page)
	base := leak.Now().Mappings
	m := New()
	r := Region{GuestAddr: 0x1000, Size: page, UserAddr: 0x1000, Offset: page}
	steps := []struct {
		name     string
		do       func() error
		ok       bool
		mappings int
	}{
		{"add", func() error { return m.Add(r, f.FD) }, true, 1},
		{"add again", func() error { return m.Add(r, f.FD) }, true, 1},
		{"same place, other file", func() error { return m.Add(r, other.FD) }, false, 1},
		{"overlap", func() error { return m.Add(Region{GuestAddr: 0x1800, Size: page, UserAddr: 0x9000}, f.FD) }, false, 1},
		{"overlap of user addresses", func() error { return m.Add(Region{GuestAddr: 0x9000, Size: page, UserAddr: 0x1800}, f.FD) }, false, 1},
		{"a second", func() error {
			return m.Add(Region{GuestAddr: 0x9000, Size: page, UserAddr: 0x9000, Offset: 9 * page}, f.FD)
		}, true, 2},
		{"remove what is not there", func() error { return m.Remove(Region{GuestAddr: 0x5000, Size: page}) }, false, 2},
		{"remove", func() error { return m.Remove(r) }, true, 1},
		{"remove again", func() error { return m.Remove(r) }, false, 1},
		{"replace with other file", func() error { return m.Replace([]Region{r}, []int{other.FD}) }, true, 1},
		{"replace, one bad", func() error { return m.Replace([]Region{{GuestAddr: 0, Size: page}, {Size: 0}}, []int{f.FD, f.FD}) }, false, 1},
		{"replace with overlap", func() error { return m.Replace([]Region{r, r}, []int{f.FD, f.FD}) }, false, 1},
		{"close", func() error { m.Close(); return nil }, true, 0},
		{"add after close", func() error { return m.Add(r, f.FD) }, false, 0},
	}
	for _, s := range steps {
		if err := s.do(); (err == nil) != s.ok {
			t.Errorf("%s: %v", s.name, err)
		}
		if got := leak.Now().Mappings - base; got != s.mappings {
			t.Errorf("%s: %d mappings, want %d", s.name, got, s.mappings)
		}
	}
}

func TestSlots(t *testing.T) {
	f := frontend.NewMemory(t, page)
	m := New()
	defer m.Close()
	for i := range uint64(MaxRegions + 1) {
		err := m.Add(Region{GuestAddr: i << 20, Size: page, UserAddr: i << 20}, f.FD)
		if (err == nil) != (i < MaxRegions) {
			t.Errorf("region %d: %v", i, err)
		}
	}
}

// TestTableOutlivesMemory holds a table while its regions go, and uses it.
func TestTableOutlivesMemory(t *testing.T) {
	m, _ := newMemory(t)
	base := leak.Now().Mappings
	table := m.Acquire()
	if err := m.Replace(nil, nil); err != nil {
		t.Fatal(err)
	}
	m.Close()
	if err := table.Write([]byte("still here"), 0x10000); err != nil {
		t.Error(err)
	}
	if got := leak.Now().Mappings; got != base {
		t.Errorf("%d mappings while held, want %d", got, base)
	}
	table.Release()
	if got := leak.Now().Mappings; got != base-3 {
		t.Errorf("%d mappings after the release, want %d", got, base-3)
	}
}

// TestReadersAndWriters changes the table under readers; the race detector and the kernel watch.
func TestReadersAndWriters(t *testing.T) {
	m, f := newMemory(t)
	before := leak.Now()
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			var b [8]byte
			for {
				select {
				case <-stop:
					return
				default:
				}
				table := m.Acquire()
				if table.Regions() > 0 {
					_ = table.Read(b[:], 0x10000)
				}
				table.Release()
			}
		})
	}
	for range 300 {
		_ = m.Replace(nil, nil)
		if err := m.Replace(regions(), []int{f.FD, f.FD, f.FD}); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	readers.Wait()
	if err := leak.Settles(before); err != nil {
		t.Error(err)
	}
}

// TestShrunkFile takes the pages away from under a mapping. Without Guard this kills the process.
func TestShrunkFile(t *testing.T) {
	f := frontend.NewUnsealedMemory(t, 4*page, 0) // cannot be sealed, so is accepted
	m := New()
	defer m.Close()
	if err := m.Add(Region{GuestAddr: 0, Size: 4 * page, UserAddr: 0}, f.FD); err != nil {
		t.Fatal(err)
	}
	table := m.Acquire()
	defer table.Release()
	if err := unix.Ftruncate(f.FD, page); err != nil {
		t.Fatal(err)
	}
	segs, err := table.Guest(nil, 0, 4*page)
	if err != nil {
		t.Fatal(err)
	}
	touches := map[string]func() error{
		"load":   func() error { Load32(segs[0], 3*page); return nil },
		"store":  func() error { Store16(segs[0], 3*page, 1); return nil },
		"byte":   func() error { segs[0][2*page] = 1; return nil },
		"copy":   func() error { return table.Read(make([]byte, 4*page), 0) },
		"copyTo": func() error { return table.Write(make([]byte, 2*page), page) },
	}
	for name, fn := range touches {
		if err := Guard(fn); !errors.Is(err, ErrFault) {
			t.Errorf("%s: %v, want %v", name, err, ErrFault)
		}
	}
	if err := Guard(func() error { segs[0][0] = 1; return nil }); err != nil {
		t.Errorf("page that is left: %v", err)
	}
}

func TestGuardLetsPanicsPass(t *testing.T) {
	for name, fn := range map[string]func() error{
		"panic": func() error { panic("ours") },
		"nil":   func() error { var p *int; *p = 1; return nil },
		"index": func() error { var s []int; n := 3; s[n] = 1; return nil },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: swallowed", name)
				}
			}()
			_ = Guard(fn)
		}()
	}
	if err := Guard(func() error { return fmt.Errorf("x: %w", ErrRange) }); !errors.Is(err, ErrRange) {
		t.Errorf("error lost: %v", err)
	}
}

func TestAtomics(t *testing.T) {
	f := frontend.NewMemory(t, page)
	b := f.Mem
	Store16(b, 0, 0x1111)
	Store16(b, 2, 0x2222)
	Store16(b, page-2, 0x3333)
	if Load32(b, 0) != 0x22221111 || Load16(b, 0) != 0x1111 || Load16(b, 2) != 0x2222 || Load16(b, page-2) != 0x3333 {
		t.Errorf("%x ... %x", b[:8], b[page-4:])
	}
	Store32(b, 4, 0x44444444)
	if !bytes.Equal(b[:8], []byte{0x11, 0x11, 0x22, 0x22, 0x44, 0x44, 0x44, 0x44}) {
		t.Errorf("%x", b[:8])
	}
	for _, off := range []int{-1, page - 1, page} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("offset %d was accepted", off)
				}
			}()
			Load16(b, off)
		}()
	}
}

// FuzzGuest compares address translation with a byte-by-byte reference.
func FuzzGuest(f *testing.F) {
	f.Add(uint64(0x11ff0), uint64(32))
	f.Add(uint64(0x20fff), uint64(2))
	f.Add(uint64(math.MaxUint64), uint64(math.MaxUint64))
	fm := frontend.NewMemory(f, 16*page)
	m := New()
	f.Cleanup(m.Close)
	if err := m.Replace(regions(), []int{fm.FD, fm.FD, fm.FD}); err != nil {
		f.Fatal(err)
	}
	table := m.Acquire()
	f.Cleanup(table.Release)
	f.Fuzz(func(t *testing.T, addr, n uint64) {
		n %= 8 * page
		segs, err := table.Guest(nil, addr, n)
		want := inside(addr)
		for i := range n {
			want = want && inside(addr+i)
		}
		if want != (err == nil) {
			t.Fatalf("addr %#x n %d: %v", addr, n, err)
		}
		if total := len(bytes.Join(segs, nil)); err == nil && total != int(n) {
			t.Fatalf("addr %#x n %d: %d bytes", addr, n, total)
		}
	})
}

func inside(addr uint64) bool {
	for _, r := range regions() {
		if addr >= r.GuestAddr && addr < r.GuestAddr+r.Size {
			return true
		}
	}
	return false
}
