package lab

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// TestInsideSleep follows a guest through a suspend to disk, and another life of it through one to RAM, and has a second guest
// boot from the network.
func TestInsideSleep(t *testing.T) {
	onlyInside(t)
	s := one(NIC{Model: "virtio-net-pci", Link: "lan"})
	s.Links = []Link{{Name: "lan", Host: netip.MustParsePrefix("10.1.0.1/24")}}
	s.Guests[0].SwapMiB = 512
	s.Guests = append(s.Guests, Guest{Name: "net", Boot: BootNet, NICs: []NIC{{Model: "virtio-net-pci", Link: "lan", BootROM: true}}})
	l := bring(t, s)
	a := l.Guest("a")
	join(t, l, a)
	t.Run("disk", func(t *testing.T) { checkHibernate(t, l, a) })
	t.Run("forgotten", func(t *testing.T) { checkForgotten(t, a) })
	join(t, l, a)
	t.Run("memory", func(t *testing.T) { checkSleep(t, l, a) })
	t.Run("network", func(t *testing.T) { checkNetboot(t, l, l.Guest("net")) })
	if found := l.Findings(); len(found) > 0 {
		t.Errorf("findings: %v", found)
	}
}

// join gives the guest its address and looks whether it answers.
func join(t *testing.T, l *Lab, a *VM) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), l.Timeout(WaitTransfer))
	defer cancel()
	link, err := a.Agent().LinkByMAC(ctx, a.MAC(0), l.Timeout(WaitLink))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Agent().AddAddr(ctx, link.GetName(), a.Addr(0)); err != nil {
		t.Fatal(err)
	}
	if err := a.Agent().LinkUp(ctx, link.GetName()); err != nil {
		t.Fatal(err)
	}
	ping(t, ctx, l, l.Host(), a.Addr(0).Addr())
}

func checkSleep(t *testing.T, l *Lab, v *VM) {
	life := v.Hello().GetBootId()
	ctx, cancel := context.WithTimeout(t.Context(), l.Timeout(WaitShutdown)+l.Timeout(WaitHello))
	defer cancel()
	asleep := make(chan error, 1)
	agent := v.Agent()
	go func() { asleep <- agent.Power(ctx, "suspend") }()
	if _, err := v.Monitor().WaitEvent(ctx, "SUSPEND", nil); err != nil {
		t.Fatal(err)
	}
	if err := v.Monitor().Run(ctx, "system_wakeup", nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := v.Reconnect(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-asleep; err != nil {
		t.Errorf("suspend: %v", err)
	}
	if got := v.Hello().GetBootId(); got != life || v.State() != StateUp {
		t.Errorf("boot id %s, was %s; state %s", got, life, v.State())
	}
	ping(t, ctx, l, l.Host(), v.Addr(0).Addr())
}

func checkHibernate(t *testing.T, l *Lab, v *VM) {
	life := v.Hello().GetBootId()
	if err := v.Agent().WriteFile(t.Context(), "/tmp/kept", 0, []byte("kept")); err != nil {
		t.Fatal(err)
	}
	if err := v.Hibernate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v.State() != StateOff || v.Monitor() != nil {
		t.Errorf("state %s", v.State())
	}
	if err := v.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept, err := v.Agent().ReadFile(t.Context(), "/tmp/kept")
	if got := v.Hello().GetBootId(); got != life || string(kept) != "kept" || err != nil {
		t.Errorf("boot id %s, was %s; file %q, %v", got, life, kept, err)
	}
	ping(t, t.Context(), l, l.Host(), v.Addr(0).Addr())
}

// checkForgotten shows that a guest whose image is gone boots anew, and that a start is no resume.
func checkForgotten(t *testing.T, v *VM) {
	life := v.Hello().GetBootId()
	if err := v.Hibernate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := v.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := v.Hello().GetBootId(); got == life {
		t.Errorf("boot id %s is still the old", got)
	}
}

func checkNetboot(t *testing.T, l *Lab, v *VM) {
	const says = "picolab: here I am"
	s, err := l.Netboot("lan", "x.ipxe", []byte("#!ipxe\necho "+says+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if v.State() != StateRunning || v.Agent() != nil || v.Image() != nil {
		t.Errorf("state %s, agent %v", v.State(), v.Agent())
	}
	ctx, cancel := context.WithTimeout(t.Context(), l.Timeout(WaitFirmware))
	defer cancel()
	if err := v.Monitor().Run(ctx, "cont", nil, nil); err != nil {
		t.Fatal(err)
	}
	shown := func() bool {
		text, err := os.ReadFile(v.ConsolePath())
		return err == nil && strings.Contains(string(text), says)
	}
	for !shown() {
		select {
		case <-ctx.Done():
			t.Fatalf("the file does not run; asked for: %q", s.Seen())
		case <-time.After(20 * time.Millisecond):
		}
	}
	if _, err := l.Netboot("wan", "x", nil); err == nil {
		t.Error("an unknown link is served")
	}
}
