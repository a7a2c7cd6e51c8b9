package vhostuser

import (
	"testing"
	"time"

	"picolab/hostctl/vhostuser/internal/frontend"
	"picolab/hostctl/vhostuser/virtq"
)

// packedSession is a front-end that has one packed ring running.
type packedSession struct {
	*frontend.Conn
	mem        *frontend.Memory
	ring       *frontend.Packed
	kick, call int
}

func newPackedSession(t *testing.T, path string) *packedSession {
	t.Helper()
	s := &packedSession{Conn: frontend.Dial(t, path), mem: frontend.NewMemory(t, 1<<20)}
	s.Negotiate(testFeatures | virtq.FeaturePacked)
	s.Share(s.mem)
	s.ring = frontend.NewPacked(s.mem, 16)
	s.kick, s.call = s.Start(0, s.ring, virtq.PackedBase)
	return s
}

// echo sends text through the ring and waits for it.
func (s *packedSession) echo(t *testing.T, text string) {
	t.Helper()
	in, out := s.mem.Alloc(len(text)), s.mem.Alloc(len(text))
	copy(s.mem.Mem[in:], text)
	s.ring.Add(frontend.Buf{Off: in, Len: len(text)}, frontend.Buf{Off: out, Len: len(text), Write: true})
	frontend.Kick(s.kick)
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Microsecond) {
		if _, n, ok := s.ring.Take(); ok {
			if got := string(s.mem.Mem[out:][:n]); got != text {
				t.Errorf("echo of %q: %q", text, got)
			}
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("no answer to %q", text)
		}
	}
}

// TestPackedEcho runs a packed ring around its end several times, with stops, moves and changes of memory in between.
func TestPackedEcho(t *testing.T) {
	s := newPackedSession(t, startServer(t, newEchoDevice()))
	for i := range 50 {
		s.echo(t, "packed")
		switch i % 5 {
		case 0:
			base := s.Stop(0)
			if base != s.ring.Base() || s.Stop(0) != base {
				t.Fatalf("base %#x, the driver's is %#x", base, s.ring.Base())
			}
			s.kick, s.call = s.Start(0, s.ring, base)
		case 1:
			s.Do(9, s.ring.Addr(0))
		case 2:
			s.Share(s.mem)
		}
	}
	if !frontend.Called(s.call) {
		t.Error("no call")
	}
}

// TestPackedFresh: a front-end that says nothing about the base means a ring that was never used; bases have to exist.
func TestPackedFresh(t *testing.T) {
	path := startServer(t, newEchoDevice())
	s := &packedSession{Conn: frontend.Dial(t, path), mem: frontend.NewMemory(t, 1<<20)}
	s.Negotiate(testFeatures | virtq.FeaturePacked)
	s.Share(s.mem)
	s.ring = frontend.NewPacked(s.mem, 16)
	s.kick = s.Eventfd()
	s.Do(8, frontend.State(0, 16))
	s.Do(9, s.ring.Addr(0))
	s.Do(18, frontend.State(0, 1))
	s.Do(12, frontend.U64(0), s.kick)
	s.echo(t, "fresh")
	s.Stop(0)
	s.Do(10, frontend.State(0, 0x8010_8010))
	if s.Try(12, frontend.U64(0), s.kick) == 0 {
		t.Error("a ring of 16 was started at entry 16")
	}
	s.kick, _ = s.Start(0, s.ring, s.ring.Base())
	s.echo(t, "again")
}

// TestPackedOnlyIfOffered: a device that does not ask for packed rings gets none.
func TestPackedOnlyIfOffered(t *testing.T) {
	c := frontend.Dial(t, startServer(t, splitOnly{newEchoDevice()}))
	if f := u64At(c.Call(1, 0, nil)); f&virtq.FeaturePacked != 0 {
		t.Errorf("features %#x", f)
	}
	c.Negotiate(0)
	if c.Try(2, frontend.U64(virtq.FeaturePacked)) == 0 {
		t.Error("packed rings were accepted")
	}
}

// splitOnly has neither packed rings nor logging.
type splitOnly struct{ *echoDevice }

func (splitOnly) Features() uint64         { return 0 }
func (splitOnly) ProtocolFeatures() uint64 { return ProtocolImplemented &^ ProtocolLogShmfd }
