package stream

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"picolab/hostctl/internal/leak"
	"picolab/hostctl/vale"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

const limit = 30 * time.Second

// joined returns a switch with a stream port and a pipe.
func joined(t *testing.T, path string, opt Options) (*vale.Switch, *vale.Pipe) {
	t.Helper()
	p, err := New(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	s, err := vale.New(vale.Options{Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	pipe := vale.NewPipe(1<<20, 0)
	if err := errors.Join(s.Attach("stream", p), s.Attach("pipe", pipe.Port())); err != nil {
		t.Fatal(err)
	}
	return s, pipe
}

func dialPeer(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(limit))
	return c
}

// broadcast is a frame of n bytes to all.
func broadcast(n, seed int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + seed)
	}
	copy(b, "\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01")
	return b
}

func framed(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }

// collect waits for n frames.
func collect(t *testing.T, p *vale.Pipe, n int) (all [][]byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	frames := make([]vale.Frame, vale.MaxBatch)
	for len(all) < n {
		if err := p.Wait(ctx); err != nil {
			t.Fatalf("%d frames of %d: %v", len(all), n, err)
		}
		for _, f := range frames[:p.Read(frames)] {
			all = append(all, bytes.Clone(f.Data))
		}
	}
	return all
}

// TestCuts sends frames of all lengths, cut in pieces anywhere.
func TestCuts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	_, pipe := joined(t, path, Options{})
	peer := dialPeer(t, path)
	var bytesOut []byte
	var want [][]byte
	for i, n := range []int{14, 60, 1514, 9000, vale.MaxFrame, 61, 62} {
		want = append(want, broadcast(n, i))
		bytesOut = append(bytesOut, framed(want[i])...)
	}
	for cut := 1; len(bytesOut) > 0; cut = cut*3 + 1 {
		n := min(cut, len(bytesOut))
		if _, err := peer.Write(bytesOut[:n]); err != nil {
			t.Fatal(err)
		}
		bytesOut = bytesOut[n:]
	}
	for i, got := range collect(t, pipe, len(want)) {
		if !bytes.Equal(got, want[i]) {
			t.Errorf("frame %d: %d bytes", i, len(got))
		}
	}
}

// TestToPeer has the switch send, to a peer that does not read until it has been sent more than the socket holds.
func TestToPeer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s, pipe := joined(t, path, Options{})
	peer := dialPeer(t, path)
	if _, err := peer.Write(framed(broadcast(60, 0))); err != nil {
		t.Fatal(err)
	}
	collect(t, pipe, 1) // the connection is there
	const frames, size = 400, 9000
	for i := range frames {
		for pipe.Write([]vale.Frame{{Data: broadcast(size, i)}}) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	taken := func() vale.PortStats { return s.Stats().Ports[0] }
	for from := time.Now(); taken().ToFrames+taken().ToFull < frames; time.Sleep(time.Millisecond) {
		if time.Since(from) > limit {
			t.Fatalf("%+v", taken())
		}
	}
	if taken().ToFull == 0 {
		t.Error("a peer that does not read takes everything")
	}
	last := -1
	for range taken().ToFrames {
		var head [4]byte
		b := make([]byte, size)
		if _, err := io.ReadFull(peer, head[:]); err != nil || binary.BigEndian.Uint32(head[:]) != size {
			t.Fatalf("after frame %d: %v, %v", last, head, err)
		}
		if _, err := io.ReadFull(peer, b); err != nil {
			t.Fatal(err)
		}
		i := last + 1
		for ; i < frames && !bytes.Equal(b, broadcast(size, i)); i++ {
		}
		if i == frames {
			t.Fatalf("after frame %d comes none of the following", last)
		}
		last = i
	}
}

// TestReconnect: peers come and go; one that sends nonsense is sent away.
func TestReconnect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	_, pipe := joined(t, path, Options{})
	for i := range 5 {
		peer := dialPeer(t, path)
		if _, err := peer.Write(framed(broadcast(60+i, i))); err != nil {
			t.Fatal(err)
		}
		if got := collect(t, pipe, 1); len(got[0]) != 60+i {
			t.Fatalf("%d bytes", len(got[0]))
		}
		_, _ = peer.Write([]byte{0x7f, 0, 0, 0})
		if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("a frame of 2 GiB: %v", err)
		}
	}
}

// TestClient connects to a listener that comes later, goes, and comes again.
func TestClient(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	_, pipe := joined(t, path, Options{Client: true, Retry: 5 * time.Millisecond})
	for i := range 3 {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		_ = l.SetDeadline(time.Now().Add(limit))
		c, err := l.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(framed(broadcast(100+i, i))); err != nil {
			t.Fatal(err)
		}
		if got := collect(t, pipe, 1); len(got[0]) != 100+i {
			t.Fatalf("%d bytes", len(got[0]))
		}
		_, _ = c.Close(), l.Close()
	}
}

// TestSocketFile: a stale socket is replaced, one in use and other files are not.
func TestSocketFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(path, Options{}); err == nil {
		t.Error("a socket in use")
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	p, err := New(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket stays")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(path, Options{}); err == nil {
		t.Error("a regular file")
	}
}
