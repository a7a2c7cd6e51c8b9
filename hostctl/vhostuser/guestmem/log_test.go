package guestmem

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

// logFile makes a file of a page and returns its content, too.
func logFile(t *testing.T) (fd int, mem []byte) {
	t.Helper()
	fd, err := unix.MemfdCreate("log", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Ftruncate(fd, 8192); err != nil {
		t.Fatal(err)
	}
	mem, err = unix.Mmap(fd, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(mem) })
	return fd, mem
}

// TestLogModel marks ranges in logs of odd sizes that lie within a file, and compares bit by bit.
func TestLogModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, at := range []struct{ offset, size int }{{0, 8192}, {0, 1}, {8, 5}, {4088, 16}, {4096, 33}, {8184, 8}, {8184, 7}} {
		fd, mem := logFile(t)
		l, err := OpenLog(fd, uint64(at.size), uint64(at.offset))
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			clear(mem)
			first, n := rnd.Uint64N(uint64(at.size*9)*LogPage), uint64(rnd.IntN(3*LogPage))
			if rnd.IntN(4) == 0 {
				n = rnd.Uint64N(uint64(at.size) * 8 * LogPage)
			}
			l.Mark(first, n)
			for page := range uint64(len(mem) * 8) {
				p := page - uint64(at.offset*8)
				want := page >= uint64(at.offset*8) && p < uint64(at.size*8) && n > 0 && p >= first/LogPage && p <= (first+n-1)/LogPage
				if got := mem[page/8]&(1<<(page%8)) != 0; got != want {
					t.Fatalf("log of %d at %d: %d bytes at %#x: bit %d is %v", at.size, at.offset, n, first, p, got)
				}
			}
		}
		l.Close()
	}
}

// TestLogEdges marks what overflows, and keeps what is there.
func TestLogEdges(t *testing.T) {
	fd, mem := logFile(t)
	l, err := OpenLog(fd, 8, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	mem[1], mem[8] = 0x10, 0xff
	l.Mark(math.MaxUint64, 1)
	l.Mark(math.MaxUint64-10, math.MaxUint64)
	l.Mark(64*LogPage, 1)
	l.Mark(9*LogPage, 1)
	if mem[1] != 0x12 || mem[0] != 0 || mem[8] != 0xff {
		t.Errorf("% x", mem[:9])
	}
	l.Mark(62*LogPage, math.MaxUint64)
	if mem[7] != 0xc0 || mem[8] != 0xff {
		t.Errorf("% x", mem[:9])
	}
	(*Log)(nil).Mark(0, 1)
	(*Log)(nil).Close()
}

func TestBadLogs(t *testing.T) {
	fd, _ := logFile(t)
	tests := []struct {
		name         string
		size, offset uint64
	}{
		{"empty", 0, 0},
		{"too long", 8193, 0},
		{"CVE-2020-10722: end overflows", 4096, math.MaxUint64 - 7},
		{"endless", math.MaxUint64, 8},
		{"offset within a word", 8, 4},
		{"beyond the end", 8, 8192},
	}
	for _, tt := range tests {
		if l, err := OpenLog(fd, tt.size, tt.offset); !errors.Is(err, ErrRegion) {
			l.Close()
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestShrunkLog: the front-end takes the log away.
func TestShrunkLog(t *testing.T) {
	fd, _ := logFile(t)
	l, err := OpenLog(fd, 8192, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := unix.Ftruncate(fd, 4096); err != nil {
		t.Fatal(err)
	}
	if err := Guard(func() error { l.Mark(4096*8*LogPage, 1); return nil }); !errors.Is(err, ErrFault) {
		t.Errorf("mark: %v", err)
	}
}
