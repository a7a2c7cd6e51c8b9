package switchboard

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/load/pktgen/ports"
	"picolab/guestagent/load/pktgen/valeport"
	"picolab/guestagent/load/testpmd"
	"picolab/hostctl/vale"
	"picolab/hostctl/vale/ctl"
)

// board is a Board that ends with the test.
func board(t testing.TB) *Board {
	t.Helper()
	b := &Board{}
	b.Options.Logf, b.Switches.Options.Logf = t.Logf, t.Logf
	t.Cleanup(func() {
		if err := b.Switches.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// await waits for something that happens soon.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s does not happen", what)
		}
	}
}

func portOf(t testing.TB, b *Board, name string) (s vale.PortStats, ok bool) {
	t.Helper()
	sw, port, err := vale.Split(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range b.Status() {
		for _, p := range status.Ports {
			if status.Name == sw && p.Name == port {
				return p, true
			}
		}
	}
	return s, false
}

func generator(t testing.TB, args ...string) pktgen.Config {
	t.Helper()
	o, err := pktgen.ParseOptions(append([]string{"-i", "vale0:x"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	return o.Config
}

// TestMemif: DPDK's memif driver, as either role, sends back to a pipe of the switch what it gets of it.
func TestMemif(t *testing.T) {
	for role, ours := range map[string]string{"client": ",server,queues=2", "server": ",client"} {
		t.Run("its "+role, func(t *testing.T) {
			dir := socketDir(t)
			b := board(t)
			path, pipe := filepath.Join(dir, "m"), vale.NewPipe(1<<20, 0)
			attach := func() {
				if err := errors.Join(b.Attach("vale0:m", "memif:"+path+ours+",id=3,secret=key"), b.Switches.Attach("vale0:pipe", pipe.Port())); err != nil {
					t.Fatal(err)
				}
			}
			if role == "client" { // after its server
				attach()
			}
			pmd := testpmd.Start(t, testpmd.Config{CPU: 1, Drivers: []string{"memif"},
				VDevs: []string{fmt.Sprintf("net_memif0,id=3,secret=key,rsize=9,socket=%s,socket-abstract=no,role=%s", path, role)},
				Args:  []string{"--port-topology=loop", "--forward-mode=io"}})
			pmd.Command("start")
			if role == "server" {
				attach()
			}
			echoed(t, pipe, func() bool { p, _ := portOf(t, b, "vale0:m"); return p.ToFrames > 0 })
			p, _ := portOf(t, b, "vale0:m")
			if s := pmd.Stats(0); s.Rx != p.ToFrames || s.Tx != p.FromFrames || p.FromBytes != p.ToBytes || p.FromBad != 0 {
				t.Errorf("testpmd: %+v, the port: %+v", s, p)
			}
			pmd.Command("stop")
		})
	}
}

// echoed sends numbered frames and expects each back, after the first that got through.
func echoed(t *testing.T, pipe *vale.Pipe, up func() bool) {
	t.Helper()
	const total, window = 10000, 100
	frames, sent, came := make([]vale.Frame, vale.MaxBatch), 0, 0
	await(t, "a frame's way to the peer", func() bool {
		pipe.Write([]vale.Frame{{Data: numbered(0)}})
		return up()
	})
	for end := time.Now().Add(time.Minute); came < total; {
		for ; sent < total && sent-came < window; sent++ {
			pipe.Write([]vale.Frame{{Data: numbered(sent + 1)}})
		}
		for _, f := range frames[:pipe.Read(frames)] {
			if string(f.Data) == string(numbered(0)) {
				continue // of the first ones
			}
			if string(f.Data) != string(numbered(came+1)) {
				t.Fatalf("frame %d: %d bytes", came, len(f.Data))
			}
			came++
		}
		if time.Now().After(end) {
			t.Fatalf("%d sent, %d came back", sent, came)
		}
	}
}

// TestValePorts: pkt-gen's ports vale0:a and vale0:b attach themselves to a running switch, are its ports while they are used,
// and lose nothing at a rate that the switch takes.
func TestValePorts(t *testing.T) {
	dir := socketDir(t)
	t.Setenv("TMPDIR", dir)
	control := filepath.Join(dir, "c")
	lines, stop := serving(t, ServeOptions{Control: control})
	status(t, lines)
	open := func(name string) pktgen.Port {
		p, err := ports.All().Open(t.Context(), name+",control="+control, pktgen.Use{Send: true, Receive: true, Size: 1514})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	a, b := open("vale0:a"), open("vale0:b")
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("files that would stay if this were killed: %q", left)
	}
	done := make(chan pktgen.Result, 1)
	go func() {
		r, err := pktgen.Run(t.Context(), b, generator(t, "-f", "rxseq", "-n", "5000"), nil)
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	if _, err := pktgen.Run(t.Context(), a, generator(t, "-f", "txseq", "-n", "5000", "-R", "20000", "-l", "1514", "-l", "60"), nil); err != nil {
		t.Error(err)
	}
	if r := <-done; r.Packets != 5000 || *r.Sequence != (pktgen.Sequence{}) {
		t.Errorf("received %d, %+v", r.Packets, *r.Sequence)
	}
	all, err := (ctl.Client{Socket: control}).Status(t.Context())
	if err != nil || len(all) != 1 || len(all[0].Ports) != 2 || all[0].Ports[0].FromFrames != 5000 || all[0].Ports[1].ToFrames != 5000 {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := ports.All().Open(t.Context(), "vale0:a,control="+control, pktgen.Use{Send: true}); err == nil {
		t.Error("a name that is taken")
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	if all, err := (ctl.Client{Socket: control}).Status(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("left is %+v, %v", all, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := ports.All().Open(t.Context(), "vale0:a,control="+control, pktgen.Use{Send: true}); !errors.Is(err, valeport.ErrNoSwitch) {
		t.Errorf("no switch: %v", err)
	}
}

// TestMemifOnce: a port that was for one peer goes with it, and its switch with the last of them.
func TestMemifOnce(t *testing.T) {
	b := board(t)
	path := filepath.Join(socketDir(t), "m")
	if err := b.Attach("vale0:m", "memif:"+path+",once"); err != nil {
		t.Fatal(err)
	}
	p, err := ports.All().Open(t.Context(), "memif:"+path, pktgen.Use{Send: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := portOf(t, b, "vale0:m"); !ok {
		t.Error("there is no port")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	await(t, "the port's end", func() bool { return len(b.Status()) == 0 })
}
