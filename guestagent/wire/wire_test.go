package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/containerd/ttrpc"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestErrorsCrossTheWire(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code Code
		is   error
	}{
		{Errorf(Code_REFUSED, "no"), Code_REFUSED, nil},
		{fmt.Errorf("set link: %w", syscall.EINVAL), Code_GUEST, syscall.EINVAL},
		{fmt.Errorf("open: %w", fs.ErrNotExist), Code_NOT_FOUND, nil},
		{&fs.PathError{Op: "open", Path: "/x", Err: syscall.ENOENT}, Code_NOT_FOUND, fs.ErrNotExist},
		{fmt.Errorf("link: %w", syscall.ENODEV), Code_NOT_FOUND, syscall.ENODEV},
		{fmt.Errorf("feature: %w", syscall.EOPNOTSUPP), Code_UNSUPPORTED, syscall.EOPNOTSUPP},
		{context.DeadlineExceeded, Code_DEADLINE, nil},
		{context.Canceled, Code_LOST, nil},
		{errors.New("defect"), Code_INTERNAL, nil},
		{fmt.Errorf("outer: %w", Errorf(Code_TOO_BIG, "inner: %w", syscall.E2BIG)), Code_TOO_BIG, syscall.E2BIG},
		{errors.New("bad \xff name"), Code_INTERNAL, nil},
	} {
		got := FromStatus(ToStatus(tt.err))
		if CodeOf(got) != tt.code || tt.is != nil && !errors.Is(got, tt.is) {
			t.Errorf("%v: got %v (%v)", tt.err, got, CodeOf(got))
		}
	}
	if ToStatus(nil) != nil || FromStatus(nil) != nil || CodeOf(nil) != Code_UNKNOWN {
		t.Error("nil does not stay nil")
	}
	if CodeOf(FromStatus(ttrpc.ErrClosed)) != Code_LOST {
		t.Error("a closed connection is not lost")
	}
}

func TestCredit(t *testing.T) {
	c := NewCredit()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for range Window {
		if err := c.Take(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Take(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("window does not end: %v", err)
	}
	if err := c.Give(&Ack{Messages: Window}); err != nil {
		t.Error(err)
	}
	for _, n := range []uint32{1, 1 << 31} {
		if err := c.Give(&Ack{Messages: n}); CodeOf(err) != Code_INVALID {
			t.Errorf("%d too many: %v", n, err)
		}
	}
}

// readerConn is the reading half of a connection.
type readerConn struct {
	net.Conn
	io.Reader
}

func (c readerConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }

func testFrame(stream uint32, kind byte, n int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(n))
	b = binary.BigEndian.AppendUint32(b, stream)
	return append(append(b, kind, 0), bytes.Repeat([]byte{7}, n)...)
}

func TestGuardPassesFramesUnchanged(t *testing.T) {
	in := bytes.Join([][]byte{testFrame(1, 1, 0), testFrame(3, 2, 1), testFrame(5, 3, 5000), testFrame(1, 3, 11)}, nil)
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(in), "bytewise": iotest.OneByteReader(bytes.NewReader(in)), "halves": iotest.HalfReader(bytes.NewReader(in)),
	} {
		got, err := io.ReadAll(iotest.HalfReader(Guard(readerConn{Reader: r}, 5000)))
		if err != nil || !bytes.Equal(got, in) {
			t.Errorf("%s: %d of %d bytes, %v", name, len(got), len(in), err)
		}
	}
}

func TestGuardRefuses(t *testing.T) {
	good := testFrame(1, 1, 3)
	for name, b := range map[string][]byte{
		"length": testFrame(1, 1, 5001), "type 0": testFrame(1, 0, 0), "type 4": testFrame(1, 4, 0), "stream": testFrame(2, 1, 0), "cut": {0, 0, 0},
	} {
		got, err := io.ReadAll(Guard(readerConn{Reader: bytes.NewReader(append(bytes.Clone(good), b...))}, 5000))
		if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.Equal(got, good) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// FuzzGuard compares the guard, reading in odd pieces, with a look at the whole input.
func FuzzGuard(f *testing.F) {
	f.Add(testFrame(1, 1, 3), 1)
	f.Add(append(testFrame(1, 1, 0), testFrame(2, 3, 9)...), 7)
	f.Add(testFrame(1, 1, 101), 3)
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		const limit = 100
		want, ok := naive(in, limit)
		g := Guard(readerConn{Reader: bytes.NewReader(in)}, limit)
		var got []byte
		buf := make([]byte, 1+abs(piece)%64)
		var err error
		for err == nil {
			var n int
			n, err = g.Read(buf)
			got = append(got, buf[:n]...)
		}
		if !bytes.Equal(got, want) || errors.Is(err, io.ErrUnexpectedEOF) == ok {
			t.Errorf("got %x %v, want %x ok %v", got, err, want, ok)
		}
	})
}

func abs(n int) int { return max(n, -(n + 1)) }

// naive is what passes, and whether the input ends between frames or in the middle of a payload.
func naive(in []byte, limit uint32) (out []byte, ok bool) {
	for len(in) > 0 {
		if len(in) < headerLen || CheckHeader(in[:headerLen], limit) != nil {
			return out, false
		}
		n := min(headerLen+int(binary.BigEndian.Uint32(in)), len(in))
		out, in = append(out, in[:n]...), in[n:]
	}
	return out, true
}
