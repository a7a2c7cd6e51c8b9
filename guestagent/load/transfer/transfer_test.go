package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContentDependsOnSeedAlone(t *testing.T) {
	a, b, c := make([]byte, 1000), make([]byte, 1000), make([]byte, 1000)
	_, _ = io.ReadFull(Content(1), a)
	r := Content(1)
	for i := range b {
		_, _ = r.Read(b[i : i+1])
	}
	_, _ = io.ReadFull(Content(2), c)
	if !bytes.Equal(a, b) || bytes.Equal(a, c) {
		t.Error("content is not a function of the seed")
	}
}

// stream makes the datagrams of a transfer and its fin.
func stream(n int) (data []datagram, fin datagram) {
	h, r := sha256.New(), Content(3)
	offset := uint64(0)
	for i := range n {
		b := make([]byte, 10+i%3)
		_, _ = r.Read(b)
		h.Write(b)
		data = append(data, datagram{serial: uint64(i), offset: offset, content: b})
		offset += uint64(len(b))
	}
	return data, datagram{kind: kindFin, serial: uint64(n), offset: offset, content: h.Sum(nil)}
}

func assemble(t *testing.T, in []datagram) *Result {
	t.Helper()
	r := newReassembly(func(h hash.Hash, b []byte) error { h.Write(b); return nil })
	for _, d := range in {
		if err := r.add(d, nil); err != nil {
			t.Fatal(err)
		}
	}
	res, err := r.result(0, "idle")
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestReassembly(t *testing.T) {
	data, fin := stream(200)
	shuffled := append([]datagram(nil), data...)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for name, tt := range map[string]struct {
		in         []datagram
		complete   bool
		lost, dups int64
		end        string
	}{
		"in order":    {append(data[:200:200], fin), true, 0, 0, "fin"},
		"shuffled":    {append(shuffled[:200:200], fin), true, 0, 0, "fin"},
		"doubled":     {append(append(data[:200:200], data...), fin, fin), true, 0, 200, "fin"},
		"first lost":  {append(data[1:200:200], fin), false, 1, 0, "fin"},
		"last lost":   {append(data[:199:199], fin), false, 1, 0, "fin"},
		"no fin":      {data[:150:150], false, 0, 0, "idle"},
		"gap, no fin": {append(data[:10:10], data[20:30]...), false, 10, 0, "idle"},
		"nothing":     {nil, false, 0, 0, "idle"},
		"only fin":    {[]datagram{fin}, false, 200, 0, "fin"},
	} {
		res := assemble(t, tt.in)
		if res.Complete != tt.complete || res.Lost != tt.lost || res.Duplicates != tt.dups || res.End != tt.end {
			t.Errorf("%s: %+v", name, res)
		}
		if tt.complete != bytes.Equal(res.SHA256, fin.content) {
			t.Errorf("%s: SHA-256 %x", name, res.SHA256)
		}
	}
}

func TestReassemblyHoldsOnlySoMuch(t *testing.T) {
	r := newReassembly(func(h hash.Hash, b []byte) error { return nil })
	big := make([]byte, 60000)
	for i := uint64(1); i < 1000; i++ {
		if err := r.add(datagram{serial: i, content: big}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if !r.broken || r.held != nil || r.res.Datagrams != 999 {
		t.Errorf("broken %v, %d held", r.broken, len(r.held))
	}
}

func TestDatagram(t *testing.T) {
	d := datagram{kind: kindFin, serial: 1 << 40, offset: 1 << 50, content: []byte("hello")}
	b := d.append(nil)
	got, err := decode(b)
	if err != nil || got.kind != d.kind || got.serial != d.serial || got.offset != d.offset || string(got.content) != "hello" {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 0x10
		_, err := decode(c)
		covered := i < 4 || i >= 24 // magic, length, checksum, content
		if covered && err == nil {
			t.Errorf("byte %d changed: no error", i)
		}
	}
	if _, err := decode(b[:len(b)-1]); !errors.Is(err, errNotDatagram) {
		t.Errorf("cut: %v", err)
	}
}

// FuzzDatagrams takes arbitrary datagrams.
func FuzzDatagrams(f *testing.F) {
	data, fin := stream(2)
	f.Add(data[0].append(nil), fin.append(nil))
	f.Add(data[1].append(nil), data[1].append(nil))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		r := newReassembly(func(h hash.Hash, b []byte) error { h.Write(b); return nil })
		for _, in := range [][]byte{a, b} {
			if d, err := decode(in); !errors.Is(err, errNotDatagram) {
				_ = r.add(d, err)
			}
		}
		if res, _ := r.result(0, "idle"); res.Complete && res.Lost != 0 {
			t.Errorf("%+v", res)
		}
	})
}

// TestSinkKeepsContent stores what comes, and fails when that fails.
func TestSinkKeepsContent(t *testing.T) {
	name := t.TempDir() + "/out"
	s, err := Listen(SinkOptions{Network: "tcp", Address: "127.0.0.1:0", Path: name})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err == nil {
			_, _ = conn.Write([]byte("content"))
			conn.Close()
		}
	}()
	if res, err := s.Receive(t.Context()); err != nil || !res.Complete || res.Bytes != 7 {
		t.Errorf("%+v, %v", res, err)
	}
	if b, _ := os.ReadFile(name); string(b) != "content" {
		t.Errorf("file %q", b)
	}
	if _, err := Listen(SinkOptions{Network: "tcp", Address: "127.0.0.1:0", Path: "/no/such/folder/f"}); err == nil {
		t.Error("no error")
	}
	if _, err := Listen(SinkOptions{Network: "unix", Address: t.TempDir() + "/s"}); err == nil {
		t.Error("a unix socket is taken")
	}
}

func TestPacer(t *testing.T) {
	p := newPacer(1 << 20)
	start := time.Now()
	for range 11 {
		p.wait(t.Context(), 10<<10)
	}
	if d := time.Since(start); d < 95*time.Millisecond {
		t.Errorf("110 KiB at 1 MiB/s in %v", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.wait(ctx, 1<<40)
	p.wait(ctx, 1<<40)
}
