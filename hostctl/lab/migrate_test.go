package lab

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"picolab/guestagent/client"
	"picolab/hostctl/internal/qemu"
)

// TestInsideMigration moves a running guest from one QEMU to another while the host pings its two cards, one on a tap and one
// on a switch. The rings of the latter lie in memory that is copied while the switch writes there, so that every page the
// switch dirties must be told to the first QEMU (virtio and vhost-user: the dirty log).
func TestInsideMigration(t *testing.T) {
	onlyInside(t)
	l := bring(t, Spec{
		Name: "move", Accel: AccelTCG,
		Links: []Link{{Name: "lan", Host: netip.MustParsePrefix("10.1.0.1/24")}, {Name: "sw", Host: netip.MustParsePrefix("10.2.0.1/24")}},
		Guests: []Guest{{Name: "a", Machine: "pc", NICs: []NIC{
			{Model: "virtio-net-pci", Link: "lan", Backend: BackendTap, Options: []string{"addr=0x8"}},
			{Model: "virtio-net-pci", Link: "sw", Backend: BackendVale, Options: []string{"addr=0x9"}},
		}}},
	})
	a := l.Guest("a")
	give(t, l, "a", 0, a.Addr(0))
	give(t, l, "a", 1, a.Addr(1))
	ctx, cancel := context.WithTimeout(t.Context(), 8*l.Timeout(WaitTransfer))
	defer cancel()
	boot, pid, tap := a.Hello().GetBootId(), a.Pid(), a.Tap(0)
	ends := []func() client.PingStats{pinging(t, ctx, l, a.Addr(0).Addr()), pinging(t, ctx, l, a.Addr(1).Addr())}
	m, err := a.Move(ctx)
	if err != nil || m.Status != completed {
		t.Fatalf("%+v, %v", m, err)
	}
	for i, end := range ends {
		stats := end()
		t.Logf("card %d: %d of %d pings answered, the longest wait %v", i, stats.Received, stats.Sent, stats.RTTMax)
		if stats.Received == 0 || stats.Received < stats.Sent/2 {
			t.Errorf("card %d: %+v", i, stats)
		}
	}
	t.Logf("%+v", m)
	if a.Hello().GetBootId() != boot || a.Pid() == pid || m.From != pid || m.To != a.Pid() || a.Tap(0) != tap {
		t.Errorf("boot %s was %s, process %d was %d, tap %s was %s", a.Hello().GetBootId(), boot, a.Pid(), pid, a.Tap(0), tap)
	}
	checkAfterMove(t, ctx, l, a)
}

// checkAfterMove: nothing is lost any more, on the switch it is the new port that answers, and the guest's QEMU can be
// stopped and started as any.
func checkAfterMove(t *testing.T, ctx context.Context, l *Lab, a *VM) {
	t.Helper()
	for i := range 2 {
		after, err := l.Host().PingHost(ctx, client.PingOptions{Target: a.Addr(i).Addr(), Size: 1000, Interval: 10 * time.Millisecond,
			Count: 50, Timeout: l.Timeout(WaitPing)})
		if err != nil || after.Received != after.Sent || after.Sent != 50 {
			t.Errorf("card %d after the move: %+v, %v", i, after, err)
		}
	}
	for _, p := range l.Link("sw").Switch().Stats().Ports {
		if p.Name == PortName("a.1", 1) && (p.FromFrames < 50 || p.ToFrames < 50) {
			t.Errorf("the guest answers from elsewhere: %+v", p)
		}
	}
	if err := a.Agent().Ping(ctx); err != nil {
		t.Error(err)
	}
	if found := l.Findings(); len(found) > 0 {
		t.Errorf("findings: %v", found)
	}
}

// pinging pings an address for a few seconds while the test goes on.
func pinging(t *testing.T, ctx context.Context, l *Lab, to netip.Addr) (end func() client.PingStats) {
	t.Helper()
	pings := make(chan client.PingStats, 1)
	go func() {
		stats, err := l.Host().PingHost(ctx, client.PingOptions{Target: to, Size: 1000, Interval: 10 * time.Millisecond, Count: 500,
			Timeout: l.Timeout(WaitPing)})
		if err != nil {
			t.Error(err)
		}
		pings <- stats
	}()
	return func() client.PingStats { return <-pings }
}

// TestMoveRefused: what cannot move says why.
func TestMoveRefused(t *testing.T) {
	for machine, want := range map[string]string{"q35": "only machine pc", "pc": "it is off"} {
		v := &VM{spec: Guest{Name: "a", Machine: machine}, state: StateOff}
		if _, err := v.Move(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", machine, err)
		}
	}
}

// TestIncoming: the other QEMU has the same memory, but not the device that stays, and the configuration it was made from is as
// it was.
func TestIncoming(t *testing.T) {
	from := qemu.Config{Vsock: qemu.Vsock{Kind: "vhost-user", Socket: "a.vsock"}, Extra: make([]string, 0, 2)}
	to := incoming(from, "unix:a.move")
	if !to.SharedMemory || to.Vsock.Kind != "" || !slices.Equal(to.Extra, []string{"-incoming", "unix:a.move"}) {
		t.Errorf("%+v", to)
	}
	if from.Vsock.Kind == "" || from.SharedMemory || len(from.Extra) > 0 || incoming(qemu.Config{}, "unix:x").SharedMemory {
		t.Errorf("from %+v", from)
	}
}
