package vnet

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picolab/guestagent/load/testpmd"
	"picolab/hostctl/vhostuser"
	"picolab/hostctl/vhostuser/virtq"
)

// socketDir is a folder whose name is short enough for sockets.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vnet")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// servePort serves a new port on a socket until the test ends.
func servePort(t testing.TB, path string) *Port {
	t.Helper()
	return servePairs(t, path, 1, vhostuser.Options{Logf: t.Logf})
}

func servePairs(t testing.TB, path string, pairs int, opt vhostuser.Options) *Port {
	t.Helper()
	port, err := New(pairs, &record{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := vhostuser.Listen(path, port.Device(), opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(ctx) })
	t.Cleanup(func() { cancel(); serving.Wait() })
	return port
}

// virtioUser returns the --vdev of DPDK's virtio driver, number n.
func virtioUser(n int, path string, size int, packed bool) string {
	v := fmt.Sprintf("net_virtio_user%d,path=%s,queues=1,queue_size=%d", n, path, size)
	if packed {
		v += ",packed_vq=1"
	}
	return v
}

// await waits for something that happens soon.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%s does not happen", what)
		}
	}
}

// up reports whether both rings of the port run.
func up(p *Port) bool { return p.pairs[0].rx.Load() != nil && p.pairs[0].tx.Load() != nil }

// TestTestpmd has DPDK's virtio driver send back what it gets, and checks each frame. It has its buffers back in order (IN_ORDER)
// unless it is told not to ask for that.
func TestTestpmd(t *testing.T) {
	for _, packed := range []bool{false, true} {
		for _, size := range []int{256, 1024} {
			for _, order := range []string{"", ",in_order=0"} {
				t.Run(fmt.Sprintf("packed %v/%d%s", packed, size, order), func(t *testing.T) { testpmdEcho(t, packed, size, order) })
			}
		}
	}
}

func testpmdEcho(t *testing.T, packed bool, size int, order string) {
	path := filepath.Join(socketDir(t), "s")
	port := servePort(t, path)
	pmd := testpmd.Start(t, testpmd.Config{CPU: 1, Drivers: []string{"virtio"}, VDevs: []string{virtioUser(0, path, size, packed) + order},
		Args: []string{"--port-topology=loop", "--forward-mode=io", fmt.Sprintf("--txd=%d", size), fmt.Sprintf("--rxd=%d", size)}})
	pmd.Command("start")
	await(t, "the port's way up", func() bool { return up(port) })
	if got := port.pairs[0].tx.Load().Features()&virtq.FeatureInOrder != 0; got != (order == "") {
		t.Errorf("in order: %v", got)
	}
	const frames = 20000
	e := &echo{port: port, out: make([]Frame, 32), in: frameRoom(32)}
	for limit := time.Now().Add(60 * time.Second); e.received < frames; e.turn(t, frames, size/2) {
		if time.Now().After(limit) {
			t.Fatalf("%d sent, %d received, testpmd: %+v", e.sent, e.received, pmd.Stats(0))
		}
	}
	if s := pmd.Stats(0); s.Rx != frames || s.Tx != frames {
		t.Errorf("testpmd has received %d and sent %d, of %d", s.Rx, s.Tx, frames)
	}
	if s := port.Stats(); s.ToFrames != frames || s.FromFrames != frames || s.FromBytes != s.ToBytes || s.FromBad+s.ToDown+s.FromLong != 0 {
		t.Errorf("%+v", s)
	}
	pmd.Command("stop")
}

func frameRoom(n int) []Frame { return frames(n, MaxFrame) }

// echo sends numbered frames and expects them back in order.
type echo struct {
	port           *Port
	out, in        []Frame
	sent, received int
}

// number makes frame i: its length, up to 1514 bytes, and content follow from i.
func number(i int) []byte {
	b := pattern(60+i*31%1455, i)
	binary.BigEndian.PutUint32(b[14:], uint32(i))
	return b
}

// turn sends some frames, unless enough are under way, and takes what is there.
func (e *echo) turn(t *testing.T, frames, window int) {
	n := 0
	for ; n < len(e.out) && e.sent+n < frames && e.sent+n-e.received < window; n++ {
		e.out[n] = Frame{Data: number(e.sent + n)}
	}
	e.sent += e.port.Put(0, e.out[:n])
	n, err := e.port.Take(0, e.in)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range e.in[:n] {
		if !bytes.Equal(f.Data, number(e.received)) || f.Header != (Header{}) {
			t.Fatalf("frame %d: %d bytes, %+v", e.received, len(f.Data), f.Header)
		}
		e.received++
	}
	if n == 0 {
		runtime.Gosched()
	}
}

// BenchmarkTestpmd forwards between two ports on one CPU, for DPDK's virtio driver on another, which sends on both as fast as
// it can: our ports, then testpmd's own vhost driver. The figure is what came out at the other side.
func BenchmarkTestpmd(b *testing.B) {
	for _, packed := range []bool{false, true} {
		for _, size := range []int{256, 1024} {
			for _, length := range []int{64, 1514} {
				name := map[bool]string{false: "split", true: "packed"}[packed]
				b.Run(fmt.Sprintf("%s/%d/%d", name, length, size), func(b *testing.B) { benchTestpmd(b, packed, size, length) })
			}
		}
	}
}

func benchTestpmd(b *testing.B, packed bool, size, length int) {
	var ours, theirs float64
	for b.Loop() {
		ours += oursForwards(b, packed, size, length)
		theirs += testpmdForwards(b, packed, size, length)
	}
	b.ReportMetric(ours/float64(b.N)/1e6, "Mpps")
	b.ReportMetric(theirs/float64(b.N)/1e6, "testpmd-Mpps")
	b.ReportMetric(ours/theirs, "ratio")
}

// client returns a testpmd that sends on both sockets.
func client(b *testing.B, dir string, packed bool, size, length int) *testpmd.Process {
	var vdevs []string
	for i, name := range []string{"a", "b"} {
		vdevs = append(vdevs, virtioUser(i, filepath.Join(dir, name), size, packed))
	}
	p := testpmd.Start(b, testpmd.Config{CPU: 1, Drivers: []string{"virtio"}, VDevs: vdevs,
		Args: []string{"--forward-mode=flowgen", fmt.Sprintf("--txpkts=%d", length), fmt.Sprintf("--txd=%d", size), fmt.Sprintf("--rxd=%d", size)}})
	p.Command("start")
	return p
}

func oursForwards(b *testing.B, packed bool, size, length int) float64 {
	dir := socketDir(b)
	ports := [2]*Port{servePort(b, filepath.Join(dir, "a")), servePort(b, filepath.Join(dir, "b"))}
	var stop atomic.Bool
	var forwarding sync.WaitGroup
	forwarding.Go(func() { forward(ports, &stop) })
	p := client(b, dir, packed, size, length)
	await(b, "the ports' way up", func() bool { return up(ports[0]) && up(ports[1]) })
	r := p.BestRate(0, 1)
	stop.Store(true)
	forwarding.Wait()
	p.Stop()
	return r
}

// forward moves frames between the ports, on the first CPU.
func forward(ports [2]*Port, stop *atomic.Bool) {
	runtime.LockOSThread() // and not unlocked: the thread ends with its affinity
	var set unix.CPUSet
	set.Set(0)
	_ = unix.SchedSetaffinity(0, &set)
	frames := frames(64, 2112)
	for !stop.Load() {
		for i, p := range ports {
			if n, _ := p.Take(0, frames); n > 0 {
				ports[1-i].Put(0, frames[:n])
			}
		}
	}
}

func testpmdForwards(b *testing.B, packed bool, size, length int) float64 {
	dir := socketDir(b)
	var vdevs []string
	for i, name := range []string{"a", "b"} {
		vdevs = append(vdevs, fmt.Sprintf("net_vhost%d,iface=%s,queues=1", i, filepath.Join(dir, name)))
	}
	vhost := testpmd.Start(b, testpmd.Config{CPU: 0, Drivers: []string{"vhost"}, VDevs: vdevs,
		Args: []string{"--forward-mode=io", fmt.Sprintf("--txd=%d", size), fmt.Sprintf("--rxd=%d", size)}})
	vhost.Command("start")
	p := client(b, dir, packed, size, length)
	r := p.BestRate(0, 1)
	p.Stop()
	vhost.Stop()
	return r
}
