package pktgenport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picolab/guestagent/client"
	"picolab/guestagent/hostside"
	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/load/testpmd"
	"picolab/hostctl/vhostuser"
	"picolab/hostctl/vhostuser/internal/leak"
	"picolab/hostctl/vhostuser/virtiouser"
	"picolab/hostctl/vhostuser/vnet"
)

func TestMain(m *testing.M) { leak.Main(m) }

// socket is a path in a folder whose name is short enough.
func socket(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func config(t testing.TB, args ...string) pktgen.Config {
	t.Helper()
	o, err := pktgen.ParseOptions(append([]string{"-i", "vhost:x"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	return o.Config
}

func open(t testing.TB, name string, queues int) pktgen.Port {
	t.Helper()
	p, err := Open(t.Context(), name, pktgen.Use{Send: true, Receive: true, Size: 1514, Queues: queues})
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

func TestNames(t *testing.T) {
	c, err := parse("/run/v.sock,server,packed,size=512")
	if want := (virtiouser.Config{Path: "/run/v.sock", Server: true, Packed: true, Size: 512}); err != nil || c != want {
		t.Errorf("%+v, %v", c, err)
	}
	for _, name := range []string{"/run/v.sock,nosuch", "x,size=y"} {
		if _, err := parse(name); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// events is an owner of a vnet.Port that polls.
type events struct{}

func (events) Up(int, int) {}
func (events) Down(int)    {}

// mirror is a back-end that sends everything back, until stop.
func mirror(t testing.TB, path string, pairs int) (stop func()) {
	t.Helper()
	port, err := vnet.New(pairs, events{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := vhostuser.Listen(path, port.Device(), vhostuser.Options{Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(ctx) })
	serving.Go(func() { reflect(ctx, port) })
	stop = func() { cancel(); serving.Wait() }
	t.Cleanup(stop)
	return stop
}

// reflect waits with frames that the driver has no room for: none is lost.
func reflect(ctx context.Context, port *vnet.Port) {
	frames := make([]vnet.Frame, 32)
	for i := range frames {
		frames[i].Data = make([]byte, 0, vnet.MaxFrame)
	}
	for ctx.Err() == nil {
		for pair := range port.Pairs() {
			n, _ := port.Take(pair, frames)
			for got := frames[:n]; len(got) > 0 && ctx.Err() == nil; got = got[port.Put(pair, got):] {
				_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
			}
		}
	}
}

// TestMirrored: what is sent comes back, from a back-end of ours, over one pair of queues and over two.
func TestMirrored(t *testing.T) {
	for _, pairs := range []int{1, 2} {
		path := socket(t)
		mirror(t, path, pairs)
		port := open(t, path+",packed", pairs)
		threads := fmt.Sprint(pairs)
		s, err := pktgen.Run(t.Context(), port, config(t, "-f", "tx", "-n", "200", "-p", threads), nil)
		if err != nil || s.Packets != 200 {
			t.Errorf("sent %d, %v", s.Packets, err)
		}
		r, err := pktgen.Run(t.Context(), port, config(t, "-f", "rx", "-n", "200", "-p", threads), nil)
		if err != nil || r.Packets != 200 || r.Bytes != s.Bytes {
			t.Errorf("received %d packets of %d bytes, %v", r.Packets, r.Bytes, err)
		}
	}
}

// TestAgent: an agent that was given this port sends by it, when its client asks.
func TestAgent(t *testing.T) {
	path := socket(t)
	mirror(t, path, 1)
	near, far := net.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- hostside.Serve(context.Background(), far, "/", With(pktgen.Ports{}))
	}()
	agent := client.New(near)
	defer func() {
		agent.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	if _, err := agent.Hello(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	load, err := agent.Load(t.Context(), client.LoadOptions{Generator: "pkt-gen", Args: []string{"-i", "vhost:" + path, "-f", "tx", "-n", "200"}})
	if err != nil {
		t.Fatal(err)
	}
	result, err := load.Wait()
	var sent struct{ Packets int }
	if err == nil {
		err = json.Unmarshal(result, &sent)
	}
	if err != nil || sent.Packets != 200 {
		t.Errorf("%s, %v", result, err)
	}
}

// TestBackEndGoes ends sender and receiver.
func TestBackEndGoes(t *testing.T) {
	for _, function := range []string{"rx", "tx"} {
		t.Run(function, func(t *testing.T) {
			t.Parallel() // it takes its time to find out
			path := socket(t)
			stop := mirror(t, path, 1)
			port := open(t, path, 1)
			done := make(chan error, 1)
			go func() {
				_, err := pktgen.Run(t.Context(), port, config(t, "-f", function, "-R", "1000"), nil)
				done <- err
			}()
			stop()
			if err := <-done; !errors.Is(err, unix.ENETDOWN) {
				t.Error(err)
			}
		})
	}
}

// TestTestpmd sends to DPDK's vhost driver, and receives what it sends, in both layouts and either role: its counters must be
// ours.
func TestTestpmd(t *testing.T) {
	for _, tt := range []struct{ name, options, vdev string }{
		{"split", "", ""}, {"packed", ",packed", ""}, {"split, its client", ",server,size=1024", ",client=1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := socket(t)
			pmd := testpmd.Start(t, testpmd.Config{CPU: 1, Drivers: []string{"vhost"},
				VDevs: []string{fmt.Sprintf("net_vhost0,iface=%s,queues=1%s", path, tt.vdev)}, Args: []string{"--forward-mode=rxonly"}})
			judge(t, pmd, open(t, path+tt.options, 1))
		})
	}
}

func judge(t *testing.T, pmd *testpmd.Process, port pktgen.Port) {
	const frames = 50000
	pmd.Command("start")
	r, err := pktgen.Run(t.Context(), port, config(t, "-f", "txseq", "-l", "1514", "-l", "60", "-n", fmt.Sprint(frames)), nil)
	if err != nil || r.Packets != frames {
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
	r, err = pktgen.Run(t.Context(), port, config(t, "-f", "rx", "-n", fmt.Sprint(frames)), nil)
	if err != nil || r.Packets != frames || r.Bytes != frames*64 {
		t.Errorf("received %d packets of %d bytes, %v", r.Packets, r.Bytes, err)
	}
	pmd.Command("stop")
}

// BenchmarkTestpmd is the rate at which testpmd receives what pkt-gen sends, on a CPU each.
func BenchmarkTestpmd(b *testing.B) {
	for _, packed := range []string{"", ",packed"} {
		b.Run("tx"+packed, func(b *testing.B) {
			path := socket(b)
			pmd := testpmd.Start(b, testpmd.Config{CPU: 1, Drivers: []string{"vhost"},
				VDevs: []string{"net_vhost0,iface=" + path + ",queues=1"}, Args: []string{"--forward-mode=rxonly"}})
			pmd.Command("start")
			port := open(b, path+packed, 1)
			ctx, cancel := context.WithCancel(b.Context())
			var sending sync.WaitGroup
			sending.Go(func() {
				if _, err := pktgen.Run(ctx, port, config(b, "-f", "tx", "-l", "64", "-a", "0"), nil); err != nil {
					b.Error(err)
				}
			})
			sum := 0.0
			for b.Loop() {
				sum += pmd.BestRate(0)
			}
			cancel()
			sending.Wait()
			pmd.Stop()
			b.ReportMetric(sum/float64(b.N)/1e6, "Mpps")
		})
	}
}
