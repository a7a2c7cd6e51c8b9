package memifport

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picolab/guestagent/internal/leak"
	"picolab/guestagent/load/memif"
	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/load/testpmd"
)

func TestMain(m *testing.M) {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = l.Close() // the runtime's poller has descriptors from now on
	}
	os.Exit(leak.Run(m))
}

// pair opens both ends of a memif.
func pair(t *testing.T, queues int) (server, client pktgen.Port) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "memif.sock")
	use := pktgen.Use{Send: true, Receive: true, Size: 1514, Queues: queues}
	type opened struct {
		port pktgen.Port
		err  error
	}
	done := make(chan opened, 1)
	go func() {
		p, err := Open(t.Context(), path+",server,id=3", use)
		done <- opened{p, err}
	}()
	client, err := Open(t.Context(), path+",id=3,size=256", use)
	s := <-done
	if err := errors.Join(err, s.err); err != nil {
		t.Fatal(err)
	}
	return s.port, client
}

func config(t *testing.T, args ...string) pktgen.Config {
	t.Helper()
	o, err := pktgen.ParseOptions(append([]string{"-i", "memif:x"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	return o.Config
}

// TestBothWays sends numbered frames, more than the rings hold: none may be lost, as the sender waits for room.
func TestBothWays(t *testing.T) {
	server, client := pair(t, 1)
	for _, ends := range [][2]pktgen.Port{{server, client}, {client, server}} {
		done := make(chan pktgen.Result, 1)
		go func() {
			r, err := pktgen.Run(t.Context(), ends[1], config(t, "-f", "rxseq", "-n", "20000"), nil)
			if err != nil {
				t.Error(err)
			}
			done <- r
		}()
		s, err := pktgen.Run(t.Context(), ends[0], config(t, "-f", "txseq", "-n", "20000", "-l", "1514", "-l", "60"), nil)
		if err != nil || s.Packets != 20000 {
			t.Fatalf("sent %d, %v", s.Packets, err)
		}
		if r := <-done; r.Packets != 20000 || r.Bytes != s.Bytes || *r.Sequence != (pktgen.Sequence{}) {
			t.Errorf("received %d packets, %d of %d bytes, %+v", r.Packets, r.Bytes, s.Bytes, *r.Sequence)
		}
	}
	if err := errors.Join(client.Close(), server.Close()); err != nil {
		t.Error(err)
	}
}

func TestPeerGoes(t *testing.T) {
	server, client := pair(t, 1)
	done := make(chan error, 1)
	go func() {
		_, err := pktgen.Run(t.Context(), client, config(t, "-f", "rx"), nil)
		done <- err
	}()
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, unix.ENETDOWN) {
		t.Errorf("rx: %v", err)
	}
	if _, err := pktgen.Run(t.Context(), client, config(t, "-f", "tx"), nil); !errors.Is(err, unix.ENETDOWN) {
		t.Errorf("tx: %v", err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	c, err := parse("/run/m.sock,server,id=7,secret=x,size=512")
	if err != nil || c.Role != memif.Server || c.Path != "/run/m.sock" || c.ID != 7 || c.Secret != "x" || c.Size != 512 {
		t.Errorf("%+v, %v", c, err)
	}
	for _, name := range []string{"/run/m.sock,nosuch", "x,id=y", "x,size=99999"} {
		if _, err := parse(name); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, filepath.Join(t.TempDir(), "none"), pktgen.Use{Queues: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("no peer: %v", err)
	}
}

// TestTestpmd sends to DPDK's own memif, and receives what it sends: its counters must be ours.
func TestTestpmd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memif.sock")
	pmd := testpmd.Start(t, testpmd.Config{
		Drivers: []string{"memif"}, VDevs: []string{"net_memif0,role=server,id=0,socket=" + path + ",socket-abstract=no"},
		Args: []string{"--forward-mode=rxonly"},
	})
	port, err := Open(t.Context(), path, pktgen.Use{Send: true, Receive: true, Size: 60, Queues: 1})
	if err != nil {
		t.Fatal(err)
	}
	pmd.Command("start")
	r, err := pktgen.Run(t.Context(), port, config(t, "-f", "txseq", "-n", "50000"), nil)
	if err != nil || r.Packets != 50000 {
		t.Errorf("sent %d, %v", r.Packets, err)
	}
	var got uint64
	for end := time.Now().Add(20 * time.Second); got < r.Packets && time.Now().Before(end); {
		got = pmd.Stats(0).Rx
	}
	if got != r.Packets {
		t.Errorf("testpmd received %d of %d", got, r.Packets)
	}
	pmd.Command("stop")
	pmd.Command("set fwd txonly")
	pmd.Command("start")
	r, err = pktgen.Run(t.Context(), port, config(t, "-f", "rx", "-n", "50000"), nil)
	if err != nil || r.Packets != 50000 || r.Bytes != 50000*64 {
		t.Errorf("received %d packets of %d bytes, %v", r.Packets, r.Bytes, err)
	}
	if err := port.Close(); err != nil {
		t.Error(err)
	}
}
