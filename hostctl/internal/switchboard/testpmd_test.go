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
	return virtioUsers(n, path, size, 1, packed)
}

func virtioUsers(n int, path string, size, queues int, packed bool) string {
	v := fmt.Sprintf("net_virtio_user%d,path=%s,queues=%d,queue_size=%d", n, path, queues, size)
	if packed {
		v += ",packed_vq=1"
	}
	return v
}

// guests returns a switch with vhost-user ports on the sockets "a" and on in dir.
func guests(t testing.TB, dir string, n, pairs int, opt vale.Options) *vale.Switch {
	t.Helper()
	s, err := vale.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		name := string('a' + rune(i))
		p, err := VhostUser(filepath.Join(dir, name), VhostUserOptions{Pairs: pairs})
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
	s := guests(t, dir, 1, 1, vale.Options{Logf: t.Logf})
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
