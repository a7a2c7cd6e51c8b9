package vhostuser_test

import (
	"fmt"
	"testing"
	"time"

	"picolab/hostctl/vhostuser/internal/frontend"
	"picolab/hostctl/vhostuser/virtq"
)

// scene is a testing.TB outside a test, as far as the stand-in needs one.
type scene struct {
	testing.TB
	cleanups []func()
}

func (s *scene) Helper()                           {}
func (s *scene) Cleanup(f func())                  { s.cleanups = append(s.cleanups, f) }
func (s *scene) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (s *scene) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (s *scene) end() {
	for i := range s.cleanups {
		s.cleanups[len(s.cleanups)-1-i]()
	}
}

// guest stands in for QEMU and the driver in its guest.
type guest struct {
	*frontend.Conn
	t    *scene
	mem  *frontend.Memory
	ring *frontend.Packed
	kick int
}

// dialGuest connects to a back-end and starts one packed ring.
func dialGuest(path string) *guest {
	t := &scene{}
	g := &guest{t: t, Conn: frontend.Dial(t, path), mem: frontend.NewMemory(t, 1<<16)}
	g.Negotiate(virtq.FeaturePacked)
	g.Share(g.mem)
	g.ring = frontend.NewPacked(g.mem, 16)
	g.kick, _ = g.Start(0, g.ring, virtq.PackedBase)
	return g
}

// say prints on the console, and waits until the device is done with it.
func (g *guest) say(text string) {
	off := g.mem.Alloc(len(text))
	copy(g.mem.Mem[off:], text)
	g.ring.Add(frontend.Buf{Off: off, Len: len(text)})
	frontend.Kick(g.kick)
	for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); time.Sleep(time.Millisecond) {
		if _, _, ok := g.ring.Take(); ok {
			return
		}
	}
}

func (g *guest) close() { g.t.end() }
