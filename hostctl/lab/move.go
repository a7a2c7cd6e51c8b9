package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"picolab/hostctl/internal/netdev"
	"picolab/hostctl/internal/proc"
	"picolab/hostctl/internal/qemu"
)

// A Moved is what QEMU says of a migration that has ended.
type Moved struct {
	Status   string        // completed, failed or cancelled
	Error    string        // of one that failed
	Total    time.Duration // from its beginning
	Downtime time.Duration // of it, in which the guest ran nowhere
	Bytes    int64         // of memory that went over
	From, To int           // the processes
}

// Move migrates the running guest to another QEMU of this lab over a unix socket, and returns when it has gone and its agent
// answers again, or has not gone and its agent answers again: that QEMU could not move it is no error but a Status.
//
// The vsock device does not migrate. It is taken out before and plugged in anew afterwards, so that no agent answers in
// between, and that takes machine pc: the root bus of q35 lets nothing out. The cards need fixed addresses (option addr),
// or those behind the missing device would be elsewhere on the other side.
func (v *VM) Move(ctx context.Context) (Moved, error) {
	v.power.Lock()
	defer v.power.Unlock()
	if v.spec.Machine != "pc" {
		return Moved{}, &SpecError{Problems: []string{fmt.Sprintf("guest %s: only machine pc lets its vsock device out, as a move needs", v.spec.Name)}}
	}
	r := v.current()
	if r == nil || v.Agent() == nil {
		return Moved{}, infra("move guest %s: it is %s", v.spec.Name, v.State())
	}
	if err := v.unplugVsock(ctx, r.machine.Monitor); err != nil {
		return Moved{}, infra("move guest %s: %w", v.spec.Name, err)
	}
	m, err := v.move(ctx, r)
	if err != nil {
		return m, infra("move guest %s: %w", v.spec.Name, err)
	}
	if err := v.plugVsock(ctx, v.Monitor()); err != nil {
		return m, infra("after the move of guest %s: %w", v.spec.Name, err)
	}
	return m, v.awaitHello(ctx, time.Now(), "")
}

// move starts the other QEMU, has this one send the guest to it, and makes the one that has the guest then the guest's.
func (v *VM) move(ctx context.Context, from *run) (m Moved, err error) {
	t := v.newTarget()
	defer func() {
		if err != nil || m.Status != completed {
			err = errors.Join(err, t.discard())
		}
	}()
	log, err := v.openLog()
	if err != nil {
		return m, err
	}
	if err := t.start(ctx, log); err != nil {
		return m, errors.Join(err, log.Close())
	}
	m, err = migrated(ctx, from.machine.Monitor, t.uri, 4*v.lab.Timeout(WaitTransfer))
	if err != nil || m.Status != completed {
		t.machine.Stop(v.lab.Timeout(WaitStop))
		m.Error = strings.TrimSpace(m.Error + "; the other side: " + t.machine.Stderr())
		return m, errors.Join(err, log.Close())
	}
	m.From, m.To = from.machine.Pid(), t.machine.Pid()
	to := &run{machine: t.machine, started: from.started, ended: make(chan struct{}), broken: make(chan struct{}), poweron: true}
	v.mu.Lock()
	from.wanted, v.run = true, to
	v.mu.Unlock()
	err = v.attend(ctx, to, t.config.ConsoleSocket, log)
	from.machine.Stop(v.lab.Timeout(WaitStop))
	<-from.ended
	return m, errors.Join(err, t.settle())
}

// A target is the QEMU that a guest moves to.
type target struct {
	v       *VM
	name    string // of its sockets, taps and ports
	uri     string // where it waits
	config  qemu.Config
	taps    []string // by NIC; "" of those on none
	machine *qemu.Machine
}

func (v *VM) newTarget() *target {
	v.moves++
	t := &target{v: v, name: fmt.Sprintf("%s.%d", v.spec.Name, v.moves), config: v.Config()}
	base := filepath.Join(v.lab.sockets, t.name)
	t.uri = "unix:" + base + ".move"
	t.config.QMPSocket, t.config.ConsoleSocket = base+".qmp", base+".console"
	t.config.NICs = slices.Clone(t.config.NICs)
	t.taps = make([]string, len(t.config.NICs))
	return t
}

// start makes the other ends of the cards and starts QEMU, which waits for the guest.
func (t *target) start(ctx context.Context, log *os.File) error {
	for i, n := range t.v.spec.NICs {
		if err := t.makeEnd(i, n); err != nil {
			return err
		}
	}
	c := incoming(t.config, t.uri)
	args, err := qemu.Cmdline(c)
	if err != nil {
		return err
	}
	argv := append([]string{"qemu-system-x86_64"}, args...)
	if err := os.WriteFile(filepath.Join(t.v.dir, fmt.Sprintf("argv.%d.txt", t.v.moves)), []byte(proc.Quote(argv)+"\n"), 0o644); err != nil {
		return err
	}
	t.machine, err = t.v.launch(ctx, c, log)
	return err
}

// incoming is the configuration of a QEMU that waits for the guest of another. Its memory must be of the same kind, which the
// missing vsock device may have asked for.
func incoming(c qemu.Config, uri string) qemu.Config {
	c.SharedMemory = c.SharedMemory || c.Vsock.Kind == "vhost-user"
	c.Vsock = qemu.Vsock{}
	c.Extra = append(slices.Clone(c.Extra), "-incoming", uri)
	return c
}

// makeEnd is Lab.makeEnd for the other side: a second tap, or a second port of the switch.
func (t *target) makeEnd(i int, n NIC) (err error) {
	switch {
	case n.switched():
		t.v.lab.mu.Lock()
		defer t.v.lab.mu.Unlock()
		t.config.NICs[i].Socket, err = t.v.lab.makePort(t.name, i, n)
	case n.Backend == BackendTap:
		tap := fmt.Sprintf("%s.to", t.config.NICs[i].Tap)
		if err = t.v.lab.createTap(tap, n); err == nil {
			t.config.NICs[i].Tap, t.taps[i] = tap, tap
		}
	}
	return err
}

// discard takes away what was made for a guest that did not come.
func (t *target) discard() error {
	if t.machine != nil {
		t.machine.Stop(t.v.lab.Timeout(WaitStop))
	}
	var errs []error
	for _, tap := range t.taps {
		if tap != "" {
			errs = append(errs, netdev.Delete(tap))
		}
	}
	return errors.Join(errs...)
}

// settle gives the new taps the names and addresses of those they replace, so that the lab is as it was, and keeps the
// configuration for the guest's next start. A switch's port stays; the one before is empty.
func (t *target) settle() error {
	var errs []error
	for i, tap := range t.taps {
		if tap != "" {
			t.config.NICs[i].Tap = t.v.ends[i]
			errs = append(errs, replaceTap(t.v.ends[i], tap))
		}
	}
	t.v.mu.Lock()
	t.v.config, t.v.argv = t.config, t.machine.Argv
	t.v.mu.Unlock()
	return errors.Join(errs...)
}

// replaceTap puts one tap in the place of another, which it deletes. Frames are lost while it is down, as it must be to be
// renamed.
func replaceTap(old, by string) error {
	before, err := netdev.Get(old)
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return netdev.Delete(old) },
		func() error { return netdev.Down(by) },
		func() error { return netdev.Rename(by, old) },
		func() error { return netdev.SetMAC(old, before.MAC) },
		func() error { return netdev.Up(old) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
