package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"picolab/hostctl/internal/inflate"
	"picolab/hostctl/internal/initrd"
	"picolab/hostctl/internal/place"
	"picolab/hostctl/internal/probe"
	"picolab/hostctl/internal/proc"
	"picolab/hostctl/internal/qemu"

	"golang.org/x/sys/unix"
)

// QEMU is the launch-qemu command. The end of ctx ends the machine.
func QEMU(ctx context.Context, std Stdio, args []string) error {
	o, err := ParseOptions(args)
	if err != nil {
		return err
	}
	if o.help {
		_, err := io.WriteString(std.Out, manual)
		return err
	}
	b, err := thisWorld().find(o.Image)
	if err != nil {
		return err
	}
	l := &launcher{std: std, o: o, boot: b, dir: filepath.Join(place.RunDir(), "launch", name(o)), token: initrd.NewToken()}
	return l.run(ctx)
}

// launcher starts one machine.
type launcher struct {
	std   Stdio
	o     Options
	boot  bootable
	dir   string // holds the initial RAM disk, which stays for whoever pastes the command
	token string // of the machine's agent
}

func (l *launcher) paths(kernel string) paths {
	return paths{kernel: kernel, initrd: filepath.Join(l.dir, "initrd"), sockets: place.RunDir()}
}

// show prints the command.
func (l *launcher) show(c qemu.Config) error {
	args, err := qemu.Cmdline(c)
	if err == nil {
		_, err = fmt.Fprintln(l.std.Out, proc.Quote(append([]string{qemu.DefaultBinary}, args...)))
	}
	return err
}

func (l *launcher) run(ctx context.Context) (err error) {
	kernel, err := l.prepare()
	if err != nil {
		return err
	}
	if l.o.DryRun {
		return l.show(plan(l.o, l.boot, qemu.Vsock{}, l.paths(kernel)))
	}
	if err := l.check(ctx); err != nil {
		return err
	}
	ports, err := openVale(ctx, l.o.Cards, place.RunDir(), l.std.Err)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ports.Close()) }()
	var dev *vsock
	if l.o.Wait {
		if dev, err = openVsock(l.dir, cid(l.token), l.std.Err); err != nil {
			return err
		}
		defer dev.Close()
	}
	c := plan(l.o, l.boot, dev.config(), l.paths(kernel))
	if err := l.show(c); err != nil {
		return err
	}
	args, err := qemu.Cmdline(c)
	if err != nil {
		return err
	}
	cmd := proc.Cmd{Path: qemu.DefaultBinary, Args: args, Stdin: l.std.In, Stdout: l.std.Out, Stderr: l.std.Err}
	if l.o.Wait {
		return l.untilHello(ctx, cmd, dev)
	}
	return inForeground(ctx, cmd)
}

// check refuses what would fail later with fewer words.
func (l *launcher) check(ctx context.Context) error {
	if l.o.KVM {
		if ok, evidence := probe.AskKVM(ctx, l.cache()); !ok {
			return fmt.Errorf("KVM does not work here: %s; use launch-qemu qemu", evidence)
		}
	}
	for _, c := range l.o.Cards {
		if path := socket(c, place.RunDir()); c.Backend == "vhost-user" {
			if _, err := os.Stat(path); err != nil {
				return fmt.Errorf("--%s %s: no switch has this port open: %w", c.Backend, c.Index, err)
			}
		}
		if c.Backend == "tap" {
			if _, err := os.Stat("/sys/class/net/tap" + c.Index); err != nil {
				return fmt.Errorf("--tap %s: there is no interface tap%s (prep-taps makes tap01 and tap02): %w", c.Index, c.Index, err)
			}
		}
	}
	return nil
}

// cache is the folder of answers and unpacked kernels, "" when there is none.
func (l *launcher) cache() string {
	p, err := place.New("")
	if err != nil {
		return ""
	}
	return p.Cache
}

// prepare writes the initial RAM disk and returns the kernel to start. For an emulated processor, be it that of a machine
// around this one, both are unpacked here, where it is faster.
func (l *launcher) prepare() (kernel string, err error) {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return "", err
	}
	segments := l.boot.segments
	if l.boot.root != "" {
		segments = []string{filepath.Join(l.dir, "boot.cpio")}
		if err := writeBootSegment(segments[0], l.boot.root, thisAppliance().release); err != nil {
			return "", err
		}
		defer os.Remove(segments[0]) // it is part of the initial RAM disk then
	}
	level, _ := probe.NestingLevel()
	emulated := !l.o.KVM || level > 0
	b := initrd.Boot{Token: l.token, Image: l.boot.id, Hostname: name(l.o), Port: agentPort}
	if err := initrd.Write(l.paths("").initrd, segments, emulated, b); err != nil {
		return "", err
	}
	cache := l.cache()
	if !emulated || cache == "" {
		return l.boot.kernel, nil
	}
	path, err := inflate.KernelFile(filepath.Join(cache, "kernels"), l.boot.kernel, l.boot.kernelSHA256)
	if errors.Is(err, inflate.ErrUnsupported) {
		return l.boot.kernel, nil
	}
	return path, err
}

// inForeground runs a command that has the terminal, if there is one: what is typed, Ctrl-C with it, is for the command.
func inForeground(ctx context.Context, c proc.Cmd) error {
	tty, ok := c.Stdin.(*os.File)
	if !ok || !isTerminal(tty) {
		return proc.Run(ctx, c)
	}
	// Once the terminal is the command's, taking it back is what only a process that ignores this signal may do.
	signal.Ignore(unix.SIGTTOU)
	defer signal.Reset(unix.SIGTTOU)
	fd := int(tty.Fd())
	state, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("ask for the terminal's state: %w", err)
	}
	c.Sys = func(a *syscall.SysProcAttr) { a.Foreground, a.Ctty = true, fd }
	err = proc.Run(ctx, c)
	return errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, unix.Getpgrp()), unix.IoctlSetTermios(fd, unix.TCSETS, state))
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// untilHello runs the machine until its agent has answered, and prints what it says.
func (l *launcher) untilHello(ctx context.Context, cmd proc.Cmd, dev *vsock) error {
	ctx, cancel := context.WithTimeout(ctx, helloTime)
	defer cancel()
	cmd.Stdin = nil
	p, err := proc.Start(ctx, cmd)
	if err != nil {
		return err
	}
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer p.Kill(proc.DefaultGrace)
	hello, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	waiting.Go(func() {
		select {
		case <-p.Done():
			stop(fmt.Errorf("the machine ended before its agent answered: %w", errors.Join(p.Wait(), io.ErrUnexpectedEOF)))
		case <-hello.Done():
		}
	})
	reply, err := dev.hello(hello, l.token)
	if err != nil {
		return err
	}
	p.Kill(proc.DefaultGrace) // its console is copied to the same writer
	_, err = fmt.Fprintf(l.std.Out, "Hello from %s: image %s, agent %s, kernel %s, up %.1f s\n",
		reply.Hostname, reply.ImageId, reply.Version, reply.Kernel, float64(reply.UptimeMs)/1000)
	return err
}
