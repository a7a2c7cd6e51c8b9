package lab

import (
	"context"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"picolab/guestagent/client"
	"picolab/hostctl/internal/qemu"
)

// TestInsideValeMigration moves a running guest from one QEMU to another while the host pings it. Its rings lie in memory
// that is copied while the switch writes there, so that every page the switch dirties must be told to the first QEMU (virtio
// and vhost-user: the dirty log). The guest's agent is left behind: vhost-user-vsock does not migrate.
func TestInsideValeMigration(t *testing.T) {
	onlyInside(t)
	nic := NIC{Model: "virtio-net-pci", Link: "lan", Backend: BackendVale, Options: []string{"addr=0x8"}} // the same on both sides
	l := bring(t, Spec{
		Name: "move", Accel: AccelTCG,
		Links:  []Link{{Name: "lan", Host: netip.MustParsePrefix("10.1.0.1/24")}},
		Guests: []Guest{{Name: "a", Machine: "pc", NICs: []NIC{nic}}},
	})
	a := l.Guest("a")
	give(t, l, "a", 0, a.Addr(0))
	ctx, cancel := context.WithTimeout(t.Context(), 4*l.Timeout(WaitTransfer))
	defer cancel()
	dropVsock(t, ctx, a)
	there := destination(t, l, a)
	pings := make(chan client.PingStats, 1)
	go func() {
		stats, err := l.Host().PingHost(ctx, client.PingOptions{Target: a.Addr(0).Addr(), Size: 1000, Interval: 10 * time.Millisecond,
			Count: 500, Timeout: l.Timeout(WaitPing)})
		if err != nil {
			t.Error(err)
		}
		pings <- stats
	}()
	migrate(t, ctx, a.Monitor(), there)
	stats := <-pings
	t.Logf("%d of %d pings answered, the longest wait %v", stats.Received, stats.Sent, stats.RTTMax)
	if stats.Received == 0 || stats.Received < stats.Sent/2 {
		t.Errorf("%+v", stats)
	}
	after, err := l.Host().PingHost(ctx, client.PingOptions{Target: a.Addr(0).Addr(), Size: 1000, Interval: 10 * time.Millisecond,
		Count: 50, Timeout: l.Timeout(WaitPing)})
	if err != nil || after.Received != after.Sent || after.Sent != 50 {
		t.Errorf("after the move: %+v, %v", after, err)
	}
	for _, p := range l.Link("lan").Switch().Stats().Ports {
		if p.Name == PortName("b", 0) && (p.FromFrames < 50 || p.ToFrames < 50) {
			t.Errorf("the guest answers from elsewhere: %+v", p)
		}
	}
}

// dropVsock takes away the one device that keeps a guest where it is.
func dropVsock(t *testing.T, ctx context.Context, v *VM) {
	t.Helper()
	if err := v.Monitor().Run(ctx, "device_del", map[string]any{"id": "vsock0.dev"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Monitor().WaitEvent(ctx, "DEVICE_DELETED", func(e qemu.Event) bool { return e.Data["device"] == "vsock0.dev" }); err != nil {
		t.Fatal(err)
	}
}

// destination starts a QEMU like the guest's that waits for the guest, on a port of its own. It returns its monitor and where
// it waits.
func destination(t *testing.T, l *Lab, v *VM) target {
	t.Helper()
	base := filepath.Join(l.sockets, "b")
	path, err := l.makePort("b", 0, v.spec.NICs[0])
	if err != nil {
		t.Fatal(err)
	}
	c := v.Config()
	c.NICs = slices.Clone(c.NICs)
	c.NICs[0].Socket, c.Vsock = path, qemu.Vsock{}
	c.Name, c.QMPSocket, c.ConsoleSocket, c.ConsoleFile = "move-b", base+".qmp", base+".console", base+".log"
	c.Extra = []string{"-incoming", "unix:" + base + ".move"}
	m, err := qemu.Start(l.ctx, c, qemu.StartOptions{Deadline: l.Timeout(WaitStart)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Stop(l.Timeout(WaitStop))
		if t.Failed() {
			t.Logf("the second QEMU: %s", m.Stderr())
		}
	})
	return target{m.Monitor, "unix:" + base + ".move"}
}

// target is a QEMU that waits for a guest.
type target struct {
	monitor qemu.Monitor
	uri     string
}

// migrate moves the guest and returns when it runs there.
func migrate(t *testing.T, ctx context.Context, from qemu.Monitor, to target) {
	t.Helper()
	if err := from.Run(ctx, "migrate", map[string]any{"uri": to.uri}, nil); err != nil {
		t.Fatal(err)
	}
	for {
		var info struct {
			Status    string `json:"status"`
			ErrorDesc string `json:"error-desc"`
			Downtime  int    `json:"downtime"`
		}
		if err := from.Run(ctx, "query-migrate", nil, &info); err != nil {
			t.Fatal(err)
		}
		if info.Status == "failed" || ctx.Err() != nil {
			t.Fatalf("migration: %+v", info)
		}
		if info.Status == "completed" {
			t.Logf("moved, %d ms of it standing still", info.Downtime)
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	var status struct {
		Status string `json:"status"`
	}
	if err := to.monitor.Run(ctx, "query-status", nil, &status); err != nil || status.Status != "running" {
		t.Errorf("the guest is %q there, %v", status.Status, err)
	}
}
