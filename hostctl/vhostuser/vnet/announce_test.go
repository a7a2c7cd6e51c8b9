package vnet

import (
	"bytes"
	"encoding/hex"
	"testing"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser/internal/frontend"
)

// TestAnnounce: after a migration Take speaks for the guest, once, and who waits for frames is woken.
func TestAnnounce(t *testing.T) {
	g := newGuest(t, 1, testOffload)
	kick := g.port.pairs[0].tx.Load().KickFD()
	var b [8]byte
	_, _ = unix.Read(kick, b[:])
	g.port.Arm(0)
	mac := []byte{0x52, 0x54, 0, 1, 2, 3}
	g.Do(19, append(bytes.Clone(mac), 0, 0))
	if n, _ := unix.Read(kick, b[:]); n != 8 {
		t.Error("nobody is woken")
	}
	if n, err := g.port.Take(0, frames(1, rarpSize-1)); n != 0 || err != nil {
		t.Errorf("%d frames without room, %v", n, err)
	}
	f := g.take(t, 0, 100)
	want := "ffffffffffff" + hex.EncodeToString(mac) + "8035" + "00010800060400" + "03" + hex.EncodeToString(mac) + "00000000" +
		hex.EncodeToString(mac) + "00000000"
	if len(f) != 1 || hex.EncodeToString(f[0].Data[:42]) != want || len(f[0].Data) != 60 || f[0].Header != (Header{}) {
		t.Fatalf("%+v, want %s", f, want)
	}
	if f := g.take(t, 0, 100); len(f) != 0 {
		t.Error("announced twice")
	}
	if g.Try(19, frontend.State(0, 0)[:7]) == 0 {
		t.Error("short address accepted")
	}
}

func TestMTU(t *testing.T) {
	g := newGuest(t, 1, testOffload|featureMTU)
	if g.port.MTU() != 0 {
		t.Errorf("MTU %d before anybody told", g.port.MTU())
	}
	g.Do(20, frontend.U64(9000))
	if g.port.MTU() != 9000 {
		t.Errorf("MTU %d", g.port.MTU())
	}
	if g.Try(20, frontend.U64(1<<16)) == 0 {
		t.Error("MTU of 65536 accepted")
	}
}
