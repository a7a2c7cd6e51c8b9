package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"picolab/hostctl/internal/netdev"
	"picolab/hostctl/internal/oops"
	"picolab/hostctl/internal/proc"
	"picolab/hostctl/internal/qemu"
)

// makeGuests gives every guest its taps, vsock device, console and command line, and starts none.
func (l *Lab) makeGuests(context.Context) error {
	for i, v := range l.vms {
		if err := l.makeGuest(i, v); err != nil {
			return infra("make guest %s: %w", v.spec.Name, err)
		}
	}
	return nil
}

func (l *Lab) makeGuest(index int, v *VM) error {
	var err error
	if v.dir, err = l.evidence(v.spec.Name); err != nil {
		return err
	}
	for i, n := range v.spec.NICs {
		end, err := l.makeEnd(index, v.spec.Name, i, n)
		if err != nil {
			return err
		}
		v.ends = append(v.ends, end)
	}
	if err := l.makeConsole(v); err != nil {
		return err
	}
	if v.spec.Bare() {
		v.device = noVsock{}
	} else if v.device, err = l.newVsock(v); err != nil {
		return err
	}
	l.undo.push("close vsock device of "+v.spec.Name, func(context.Context) error { return v.device.close() })
	l.undo.push("stop guest "+v.spec.Name, func(ctx context.Context) error { return v.Stop(ctx) })
	return v.makeArgv()
}

// makeEnd makes the host's end of a NIC and says where QEMU finds it: a tap's name, a socket's path, or nothing of backend
// user.
func (l *Lab) makeEnd(guest int, name string, i int, n NIC) (string, error) {
	switch {
	case n.switched():
		return l.makePort(name, i, n)
	case n.Backend == BackendTap:
		return l.makeTap(tapName(guest, i), n)
	}
	return "", nil
}

// makeTap makes a tap on the bridge of a NIC's link; it goes with the lab.
func (l *Lab) makeTap(name string, n NIC) (string, error) {
	if n.Vhost {
		if _, err := os.Stat("/dev/vhost-net"); err != nil {
			return "", fmt.Errorf("vhost: %w", err)
		}
	}
	if err := l.createTap(name, n); err != nil {
		return "", err
	}
	l.undo.push("delete tap", func(context.Context) error { return netdev.Delete(name) })
	return name, netdev.Up(name)
}

func (l *Lab) createTap(name string, n NIC) error {
	link := l.Link(n.Link)
	return netdev.CreateTap(netdev.Tap{Name: name, Queues: n.Queues, Owner: -1, Master: link.bridge, MTU: link.spec.MTU})
}

// makeConsole opens the console log and puts the scanner behind it.
func (l *Lab) makeConsole(v *VM) error {
	v.scanner = oops.New(oops.Options{Grace: l.Timeout(WaitOops), Notify: v.report})
	c, err := openConsole(filepath.Join(v.dir, "console.log"), v.scanner, v.listening)
	if err != nil {
		return err
	}
	v.console = c
	l.undo.push("close console of "+v.spec.Name, func(context.Context) error {
		c.close()
		return v.scanner.Close()
	})
	return nil
}

// listening is told that the guest's console shows the agent's ready line.
func (v *VM) listening() {
	select {
	case v.ready <- struct{}{}:
	default:
	}
}

// makeArgv settles the QEMU command line and leaves it as evidence, before there is anything to go wrong.
func (v *VM) makeArgv() error {
	base := filepath.Join(v.lab.sockets, v.spec.Name)
	f := files{qmp: base + ".qmp", consoleSocket: base + ".console", consoleLog: v.console.path, swap: v.swapFile()}
	if !v.spec.Bare() {
		var err error
		if f.kernel, err = v.lab.bootable(v.spec, v.image); err != nil {
			return infra("prepare kernel of guest %s: %w", v.spec.Name, err)
		}
		f.initrd = v.initrd()
	}
	v.config = config(v.lab.spec.Name, v.spec, v.lab.spec.Accel, v.image, v.device.config(), v.ends, f)
	v.config.Version = v.lab.version
	args, err := qemu.Cmdline(v.config)
	if err != nil {
		return &SpecError{Problems: []string{fmt.Sprintf("guest %s: %v", v.spec.Name, err)}}
	}
	v.argv = append([]string{"qemu-system-x86_64"}, args...)
	return os.WriteFile(filepath.Join(v.dir, "argv.txt"), []byte(proc.Quote(v.argv)+"\n"), 0o644)
}
