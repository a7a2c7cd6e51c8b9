package memif

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"time"

	"picolab/guestagent/load/testpmd"
)

// TestTestpmd has DPDK's driver send back what it gets, in either role, and checks each frame.
func TestTestpmd(t *testing.T) {
	for _, tt := range []struct {
		name  string
		role  Role
		vdev  string
		extra []string
	}{
		{"its client", Server, "role=client", nil},
		{"its client without copies", Server, "role=client,zero-copy=yes", []string{"--single-file-segments"}},
		{"its server", Client, "role=server", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := socketPath(t)
			cfg := Config{Role: tt.role, Path: path, ID: 3, Secret: "key", Size: 512}
			if tt.role == Server { // before its client
				port, _ := start(t, cfg)
				testpmdEcho(t, port, startTestpmd(t, path, tt.vdev, tt.extra))
				return
			}
			pmd := startTestpmd(t, path, tt.vdev, tt.extra)
			port, _ := start(t, cfg)
			testpmdEcho(t, port, pmd)
		})
	}
}

func startTestpmd(t testing.TB, path, options string, eal []string) *testpmd.Process {
	t.Helper()
	return testpmd.Start(t, testpmd.Config{CPU: 1, Drivers: []string{"memif"}, EAL: eal,
		VDevs: []string{fmt.Sprintf("net_memif0,id=3,secret=key,rsize=9,bsize=2048,socket=%s,socket-abstract=no,%s", path, options)},
		Args:  []string{"--port-topology=loop", "--forward-mode=io"}})
}

func testpmdEcho(t *testing.T, port *Port, pmd *testpmd.Process) {
	pmd.Command("start")
	await(t, "the connection", func() bool { return port.Up(0) })
	const frames, window = 20000, 256
	in, sent, received := room(32, 2048), 0, 0
	for limit := time.Now().Add(60 * time.Second); received < frames; runtime.Gosched() {
		if time.Now().After(limit) {
			t.Fatalf("%d sent, %d received, testpmd: %+v", sent, received, pmd.Stats(0))
		}
		var out [][]byte
		for i := sent; len(out) < 32 && i < min(frames, received+window); i++ {
			out = append(out, number(i, 1514))
		}
		sent += port.Put(0, out)
		n, err := port.Take(0, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range in[:n] {
			if !bytes.Equal(f, number(received, 1514)) {
				t.Fatalf("frame %d: %d bytes", received, len(f))
			}
			received++
		}
	}
	if s := pmd.Stats(0); s.Rx != frames || s.Tx != frames {
		t.Errorf("testpmd has received %d and sent %d, of %d", s.Rx, s.Tx, frames)
	}
	if s := port.Stats(); s.ToFrames != frames || s.FromFrames != frames || s.FromBytes != s.ToBytes || s.FromBad+s.ToDown != 0 {
		t.Errorf("%+v", s)
	}
	pmd.Command("stop")
}
