package virtiouser_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser"
	"picolab/hostctl/vhostuser/virtiouser"
	"picolab/hostctl/vhostuser/vnet"
)

// events is an owner of a vnet.Port that polls.
type events struct{}

func (events) Up(int, int) {}
func (events) Down(int)    {}

// socket is a path in a folder whose name is short enough.
func socket(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vu")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// device serves a virtio-net on a socket until stop.
func device(t testing.TB, path string, pairs int, client bool) (port *vnet.Port, stop func()) {
	t.Helper()
	port, err := vnet.New(pairs, events{})
	if err != nil {
		t.Fatal(err)
	}
	var s *vhostuser.Server
	if client {
		s = vhostuser.Dial(path, port.Device(), vhostuser.Options{Logf: t.Logf})
	} else if s, err = vhostuser.Listen(path, port.Device(), vhostuser.Options{Logf: t.Logf}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(ctx) })
	stop = func() { cancel(); serving.Wait() }
	t.Cleanup(stop)
	return port, stop
}

// open opens a driver, which is closed with the test.
func open(t testing.TB, c virtiouser.Config) *virtiouser.Port {
	t.Helper()
	p, err := virtiouser.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// number makes frame i, whose length, up to longest, and content follow from i.
func number(i, longest int) []byte {
	b := bytes.Repeat([]byte{byte(i)}, 60+i*31%(longest-59))
	binary.BigEndian.PutUint32(b[14:], uint32(i))
	return b
}

const deadline = 30 * time.Second

// TestBothWays: numbered frames to our own device and from it, in order, none lost, in both layouts; long ones take several of
// the driver's buffers.
func TestBothWays(t *testing.T) {
	for _, packed := range []bool{false, true} {
		for _, size := range []int{16, 256} {
			for _, longest := range []int{60, 1514, 9018} {
				c := virtiouser.Config{Packed: packed, Size: size, Frame: longest}
				t.Run(fmt.Sprintf("packed %v/%d/%d", packed, size, longest), func(t *testing.T) { bothWays(t, c) })
			}
		}
	}
}

func bothWays(t *testing.T, c virtiouser.Config) {
	const total = 5000
	c.Path = socket(t)
	port, _ := device(t, c.Path, 1, false)
	pair := open(t, c).Pairs()[0]
	room := make([]vnet.Frame, 32)
	for i := range room {
		room[i].Data = make([]byte, 0, vnet.MaxFrame)
	}
	frames := make([][]byte, 32)
	sent, taken, put, received := 0, 0, 0, 0
	for limit := time.Now().Add(deadline); taken < total || received < total; runtime.Gosched() {
		if time.Now().After(limit) {
			t.Fatalf("%d sent, %d taken, %d put, %d received", sent, taken, put, received)
		}
		sent += give(t, pair, frames[:min(len(frames), total-sent)], func(i int) []byte { return number(sent+i, c.Frame) })
		n, _ := port.Take(0, room)
		for _, f := range room[:n] {
			same(t, "taken", taken, f.Data, number(taken, c.Frame))
			taken++
		}
		if put < total {
			put += port.Put(0, []vnet.Frame{{Data: number(put, c.Frame)}})
		}
		n, err := pair.Receive(frames)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range frames[:n] {
			same(t, "received", received, f, number(received, c.Frame))
			received++
		}
		pair.Release()
	}
	if n, err := pair.Pending(); n != 0 || err != nil {
		t.Errorf("%d frames have not left, %v", n, err)
	}
}

func same(t *testing.T, what string, i int, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: frame %d has %d bytes, not %d, or others", what, i, len(got), len(want))
	}
}

// give sends as many frames as there is room for.
func give(t *testing.T, pair *virtiouser.Pair, frames [][]byte, content func(i int) []byte) int {
	t.Helper()
	n, err := pair.Reserve(frames)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		frames[i] = frames[i][:copy(frames[i], content(i))]
	}
	pair.Send(frames[:n])
	return n
}

// TestPairs: each pair of queues is another, and a device that has fewer is refused.
func TestPairs(t *testing.T) {
	path := socket(t)
	port, _ := device(t, path, 2, false)
	p := open(t, virtiouser.Config{Path: path, Pairs: 2})
	for i, pair := range p.Pairs() {
		give(t, pair, make([][]byte, 1), func(int) []byte { return number(i, 1514) })
	}
	room := []vnet.Frame{{Data: make([]byte, 0, 2048)}}
	for i := range 2 {
		if n, err := port.Take(i, room); n != 1 || err != nil || !bytes.Equal(room[0].Data, number(i, 1514)) {
			t.Errorf("pair %d: %d frames, %v", i, n, err)
		}
	}
	other := socket(t)
	device(t, other, 1, false)
	if _, err := virtiouser.Open(t.Context(), virtiouser.Config{Path: other, Pairs: 2}); err == nil {
		t.Error("two pairs of a device that has one")
	}
}

// TestServer: the driver has the socket and the device comes.
func TestServer(t *testing.T) {
	path := socket(t)
	port, _ := device(t, path, 1, true)
	pair := open(t, virtiouser.Config{Path: path, Server: true}).Pairs()[0]
	give(t, pair, make([][]byte, 1), func(int) []byte { return number(7, 1514) })
	room := []vnet.Frame{{Data: make([]byte, 0, 2048)}}
	if n, err := port.Take(0, room); n != 1 || err != nil || !bytes.Equal(room[0].Data, number(7, 1514)) {
		t.Errorf("%d frames, %v", n, err)
	}
}

// TestNobody: there is no device, or it does not come; and some ports cannot be.
func TestNobody(t *testing.T) {
	for _, server := range []bool{false, true} {
		if _, err := virtiouser.Open(t.Context(), virtiouser.Config{Path: socket(t), Server: server, Wait: 50 * time.Millisecond}); err == nil {
			t.Error("a port without a device")
		}
	}
	for _, c := range []virtiouser.Config{{Size: 3}, {Size: 1 << 16}, {Pairs: 99}, {Frame: 1 << 20}, {Path: filepath.Join(t.TempDir(), "none", "s"), Server: true}} {
		if _, err := virtiouser.Open(t.Context(), c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}

// TestDeviceGoes: the end of the device is told, and nothing hangs.
func TestDeviceGoes(t *testing.T) {
	path := socket(t)
	_, stop := device(t, path, 1, false)
	pair := open(t, virtiouser.Config{Path: path}).Pairs()[0]
	if err := pair.Err(); err != nil {
		t.Error(err)
	}
	stop()
	if err := pair.Err(); !errors.Is(err, unix.ENETDOWN) {
		t.Errorf("%v", err)
	}
	frames := make([][]byte, 1)
	for range 300 { // more than fit
		give(t, pair, frames, func(int) []byte { return number(1, 60) })
	}
	if n, err := pair.Reserve(frames); n != 0 || err != nil {
		t.Errorf("room for %d frames, %v", n, err)
	}
}

// TestNoAllocations: none for frames once they have been seen.
func TestNoAllocations(t *testing.T) {
	path := socket(t)
	port, _ := device(t, path, 1, false)
	pair := open(t, virtiouser.Config{Path: path}).Pairs()[0]
	frames, room := make([][]byte, 8), make([]vnet.Frame, 8)
	for i := range room {
		room[i].Data = make([]byte, 0, 2048)
	}
	content := number(1, 1514)
	if n := testing.AllocsPerRun(100, func() {
		give(t, pair, frames, func(int) []byte { return content })
		k, _ := port.Take(0, room)
		port.Put(0, room[:k])
		if _, err := pair.Receive(frames); err != nil {
			t.Fatal(err)
		}
		pair.Release()
	}); n > 1 { // the closure
		t.Errorf("%v allocations", n)
	}
}
