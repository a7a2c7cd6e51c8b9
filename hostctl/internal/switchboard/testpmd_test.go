package switchboard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"picolab/guestagent/load/testpmd"
	"picolab/hostctl/vale"
)

// socketDir is a folder whose name is short enough for sockets.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vale")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// virtioUser returns the --vdev of DPDK's virtio driver, number n.
func virtioUser(n int, path string, size int, packed bool) string {
	v := fmt.Sprintf("net_virtio_user%d,path=%s,queues=1,queue_size=%d", n, path, size)
	if packed {
		v += ",packed_vq=1"
	}
	return v
}

// guests returns a switch with vhost-user ports on the sockets "a" and on in dir.
func guests(t testing.TB, dir string, n int, opt vale.Options) *vale.Switch {
	t.Helper()
	s, err := vale.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		name := string('a' + rune(i))
		p, err := VhostUser(filepath.Join(dir, name), VhostUserOptions{})
		if err := errors.Join(err, s.Attach(name, p)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// numbered makes frame i, whose length and content follow from i, to all.
func numbered(i int) []byte {
	b := bytes.Repeat([]byte{byte(i)}, 60+i*31%1455)
	copy(b, "\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x88\xb5")
	binary.BigEndian.PutUint32(b[14:], uint32(i))
	return b
}

// TestTestpmd sends frames through the switch to DPDK's virtio driver, which sends them back, and checks each.
func TestTestpmd(t *testing.T) {
	for _, packed := range []bool{false, true} {
		t.Run(fmt.Sprintf("packed %v", packed), func(t *testing.T) { testpmdEcho(t, packed) })
	}
}

func testpmdEcho(t *testing.T, packed bool) {
	const total, window, size = 20000, 100, 256
	dir := socketDir(t)
	s := guests(t, dir, 1, vale.Options{Logf: t.Logf})
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	pipe := vale.NewPipe(1<<20, 0)
	if err := s.Attach("pipe", pipe.Port()); err != nil {
		t.Fatal(err)
	}
	pmd := testpmd.Start(t, testpmd.Config{CPU: 1, Drivers: []string{"virtio"}, VDevs: []string{virtioUser(0, filepath.Join(dir, "a"), size, packed)},
		Args: []string{"--port-topology=loop", "--forward-mode=io", "--txd=256", "--rxd=256"}})
	pmd.Command("start")
	deadline, sent, came := time.Now().Add(time.Minute), 0, 0
	frames := make([]vale.Frame, vale.MaxBatch)
	for came < total {
		for ; sent < total && sent-came < window; sent++ {
			pipe.Write([]vale.Frame{{Data: numbered(sent)}})
		}
		for _, f := range frames[:pipe.Read(frames)] {
			if !bytes.Equal(f.Data, numbered(came)) {
				t.Fatalf("frame %d: %d bytes", came, len(f.Data))
			}
			came++
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d sent, %d came back; %+v", sent, came, s.Stats().Ports)
		}
	}
	if p := s.Stats().Ports[0]; p.ToFrames != total || p.FromFrames != total || p.ToFull+p.FromBad != 0 {
		t.Errorf("%+v", p)
	}
	pmd.Command("stop")
	pmd.Stop()
}

// BenchmarkTestpmd is the rate of the whole switch between two ports on one CPU, for DPDK's virtio driver on another, which
// sends on both as fast as it can; then that of testpmd's own vhost driver in the same place, which looks at no address.
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
	testpmd.Prioritise(b)
	var ours, theirs float64
	for b.Loop() {
		ours += switchForwards(b, packed, size, length)
		theirs += testpmdForwards(b, packed, size, length)
	}
	b.ReportMetric(ours/float64(b.N)/1e6, "Mpps")
	b.ReportMetric(theirs/float64(b.N)/1e6, "testpmd-Mpps")
	b.ReportMetric(ours/theirs, "ratio")
}

// sender returns a testpmd that sends on both sockets.
func sender(b *testing.B, dir string, packed bool, size, length int) *testpmd.Process {
	var vdevs []string
	for i, name := range []string{"a", "b"} {
		vdevs = append(vdevs, virtioUser(i, filepath.Join(dir, name), size, packed))
	}
	p := testpmd.Start(b, testpmd.Config{CPU: 1, Drivers: []string{"virtio"}, VDevs: vdevs,
		Args: []string{"--forward-mode=flowgen", fmt.Sprintf("--txpkts=%d", length), fmt.Sprintf("--txd=%d", size), fmt.Sprintf("--rxd=%d", size)}})
	p.Command("start")
	return p
}

func switchForwards(b *testing.B, packed bool, size, length int) float64 {
	dir := socketDir(b)
	s := guests(b, dir, 2, vale.Options{CPU: 1})
	p := sender(b, dir, packed, size, length)
	r := p.BestRate(0, 1)
	p.Stop()
	if err := s.Close(); err != nil {
		b.Error(err)
	}
	return r
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
	p := sender(b, dir, packed, size, length)
	r := p.BestRate(0, 1)
	p.Stop()
	vhost.Stop()
	return r
}
