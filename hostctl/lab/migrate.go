package lab

import (
	"context"
	"fmt"
	"time"

	"picolab/hostctl/internal/qemu"
)

// completed is the status of a migration that moved its guest (MigrationStatus of QEMU's qapi/migration.json).
const completed = "completed"

// migrationEvery is the time between two looks at a migration.
const migrationEvery = 20 * time.Millisecond

// migrated has QEMU send its guest to another one and returns when that has ended, well or not. One that takes longer than
// the limit is cancelled.
func migrated(ctx context.Context, from qemu.Monitor, uri string, limit time.Duration) (Moved, error) {
	if err := from.Run(ctx, "migrate", map[string]any{"uri": uri}, nil); err != nil {
		return Moved{}, err
	}
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(migrationEvery)
	defer tick.Stop()
	for {
		m, err := askMigration(ctx, from)
		if err != nil || m.Status == completed || m.Status == "failed" || m.Status == "cancelled" {
			return m, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return m, context.Cause(ctx)
		case <-deadline.C:
			m.Error = fmt.Sprintf("%s after %v", m.Status, limit)
			m.Status = "cancelled"
			return m, from.Run(ctx, "migrate_cancel", nil, nil)
		}
	}
}

func askMigration(ctx context.Context, from qemu.Monitor) (Moved, error) {
	var info struct {
		Status    string `json:"status"`
		ErrorDesc string `json:"error-desc"`
		Total     int64  `json:"total-time"` // ms
		Downtime  int64  `json:"downtime"`   // ms
		RAM       struct {
			Transferred int64 `json:"transferred"`
		} `json:"ram"`
	}
	err := from.Run(ctx, "query-migrate", nil, &info)
	return Moved{Status: info.Status, Error: info.ErrorDesc, Total: time.Duration(info.Total) * time.Millisecond,
		Downtime: time.Duration(info.Downtime) * time.Millisecond, Bytes: info.RAM.Transferred}, err
}

// unplugVsock takes the guest's vsock device out, and what is behind it.
func (v *VM) unplugVsock(ctx context.Context, m qemu.Monitor) error {
	v.dropAgent()
	if err := m.Run(ctx, "device_del", map[string]any{"id": qemu.VsockID}, nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, v.lab.Timeout(WaitEvent))
	defer cancel()
	ours := func(e qemu.Event) bool { return e.Data["device"] == qemu.VsockID }
	if _, err := m.WaitEvent(ctx, "DEVICE_DELETED", ours); err != nil {
		return err
	}
	if v.config.Vsock.Kind != "vhost-user" {
		return nil
	}
	return m.Run(ctx, "chardev-remove", map[string]any{"id": qemu.VsockChardev}, nil)
}

// plugVsock gives the guest its vsock device back.
func (v *VM) plugVsock(ctx context.Context, m qemu.Monitor) error {
	if m == nil {
		return fmt.Errorf("plug vsock device in: guest %s is %s", v.spec.Name, v.State())
	}
	c := v.config.Vsock
	if c.Kind == "kernel" {
		return m.Run(ctx, "device_add", map[string]any{"driver": "vhost-vsock-pci", "id": qemu.VsockID, "guest-cid": c.CID}, nil)
	}
	backend := map[string]any{"type": "socket", "data": map[string]any{"server": false,
		"addr": map[string]any{"type": "unix", "data": map[string]any{"path": c.Socket}}}}
	if err := m.Run(ctx, "chardev-add", map[string]any{"id": qemu.VsockChardev, "backend": backend}, nil); err != nil {
		return err
	}
	return m.Run(ctx, "device_add", map[string]any{"driver": "vhost-user-vsock-pci", "id": qemu.VsockID, "chardev": qemu.VsockChardev}, nil)
}
