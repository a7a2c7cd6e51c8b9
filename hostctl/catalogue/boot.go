package catalogue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"picolab/guestagent/client"
	"picolab/hostctl/internal/oops"
	"picolab/hostctl/internal/qemu"
	"picolab/hostctl/lab"
)

// Booter boots labs of real guests; see [lab.Up], which must run inside a
// sandbox.
type Booter struct {
	Accel   string // kvm or tcg
	Nesting int    // emulated machines around this one
	Images  string // folder of image folders
	Modules string // as in lab.Env
	Cache   string // as in lab.Env
	Logf    func(format string, args ...any)
}

// Boot is a [Boot].
func (b Booter) Boot(ctx context.Context, top Topology, dir string, found func(Finding)) (Booted, error) {
	env := lab.Env{Dir: dir, Images: b.Images, Modules: b.Modules, Cache: b.Cache, Logf: b.Logf,
		OnFinding: func(guest string, f oops.Finding) { found(finding(guest, f)) }}
	l, err := lab.Up(ctx, b.Spec(top), env)
	if err != nil {
		return nil, err
	}
	return booted{l}, nil
}

// Spec returns the lab of a resolved topology.
func (b Booter) Spec(top Topology) lab.Spec {
	s := lab.Spec{Name: "run", Accel: b.Accel, Nesting: b.Nesting}
	for i, l := range top.Links {
		host := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, byte(i), 1}), 24)
		s.Links = append(s.Links, lab.Link{Name: l.Name, Host: host})
	}
	for _, g := range top.Guests {
		s.Guests = append(s.Guests, g.spec())
	}
	return s
}

func (g Guest) spec() lab.Guest {
	out := lab.Guest{Name: g.Name, Machine: g.Machine, CPUs: g.CPUs, SpareSlots: g.Spare, Boot: g.Boot, SwapMiB: g.Swap}
	for _, n := range g.NICs {
		out.NICs = append(out.NICs, lab.NIC{Model: Device(n.Model), Options: n.Options, Link: n.Link,
			Backend: cmp.Or(n.Backend, Tap), Vhost: n.Vhost == "on", Queues: n.Queues, BootROM: n.ROM == ROMShipped})
	}
	return out
}

// Device is the QEMU device of a model as the documents name it.
func Device(model string) string {
	if model == "virtio" {
		return "virtio-net-pci"
	}
	return model
}

// booted, machine, agent and monitor make what package lab has fit the
// interfaces of cases.
type (
	booted  struct{ l *lab.Lab }
	machine struct{ vm *lab.VM }
	agent   struct{ *client.Client }
	monitor struct{ m qemu.Monitor }

	// hostAgent reads the kernel's log itself: the sandbox has no /dev/kmsg.
	hostAgent struct{ agent }
)

func (b booted) Host() Agent                      { return hostAgent{agent{b.l.Host()}} }
func (b booted) Timeout(w lab.Wait) time.Duration { return b.l.Timeout(w) }
func (b booted) Down(ctx context.Context) error   { return b.l.Down(ctx) }

func (b booted) Segment(link string) Segment {
	n := b.l.Link(link)
	return Segment{Bridge: n.Bridge(), Host: n.Host()}
}

func (b booted) Record(ctx context.Context, link string, w io.Writer, o lab.RecordOptions) (func(context.Context) (client.CaptureStats, error), error) {
	return b.l.Record(ctx, link, w, o)
}

func (b booted) NewEnd(link, model string) (lab.End, func(context.Context) error, error) {
	return b.l.NewEnd(link, model)
}

func (b booted) Outside(ctx context.Context, link string) (Outside, error) {
	o, err := b.l.NewOutside(ctx, link)
	if err != nil {
		return Outside{}, err
	}
	return Outside{Agent: hostAgent{agent{o.Agent}}, Addr: o.Addr, Close: o.Close}, nil
}

func (b booted) Listen(ctx context.Context, link string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, "tcp", netip.AddrPortFrom(b.l.Link(link).Host().Addr(), 0).String())
}

func (b booted) Netboot(link, file string, data []byte) (Netboot, error) {
	return b.l.Netboot(link, file, data)
}

func (b booted) Machines() []Machine {
	var all []Machine
	for _, vm := range b.l.Guests() {
		all = append(all, machine{vm})
	}
	return all
}

func (m machine) Name() string   { return m.vm.Name() }
func (m machine) Bare() bool     { return m.vm.Spec().Bare() }
func (m machine) Argv() []string { return m.vm.Argv() }

func (m machine) Hibernate(ctx context.Context) error { return m.vm.Hibernate(ctx) }
func (m machine) Resume(ctx context.Context) error    { return m.vm.Resume(ctx) }

func (m machine) Devices() []string { return openDevices(m.vm.Pid()) }

func (m machine) Reconnect(ctx context.Context) error { return m.vm.Reconnect(ctx) }

func (m machine) Move(ctx context.Context) (lab.Moved, error) { return m.vm.Move(ctx) }

func (m machine) Slot(i int) string { return qemu.HotplugBus(m.vm.Config(), i) }

func (m machine) Agent() Agent {
	if c := m.vm.Agent(); c != nil {
		return agent{c}
	}
	return nil
}

func (m machine) Monitor() Monitor {
	if q := m.vm.Monitor(); q != nil {
		return monitor{q}
	}
	return nil
}

func (m machine) Cards() []Card {
	var all []Card
	for i, n := range m.vm.Spec().NICs {
		all = append(all, Card{Model: n.Model, MAC: m.vm.MAC(i), Link: n.Link, Tap: m.vm.Tap(i),
			Device: m.vm.DeviceID(i), Netdev: m.vm.NetdevID(i), Addr: m.vm.Addr(i)})
	}
	return all
}

func (m machine) Logs() map[string]string {
	return map[string]string{"console.log": m.vm.ConsolePath(), "qmp.log": filepath.Join(m.vm.Dir(), "qmp.log")}
}

func (m machine) Findings() []Finding {
	var all []Finding
	for _, f := range m.vm.Findings() {
		all = append(all, finding(m.vm.Name(), f))
	}
	return all
}

func finding(guest string, f oops.Finding) Finding {
	ended := f.Kind == lab.QEMUEnded
	return Finding{Guest: guest, Kind: string(f.Kind), Title: f.Title, Text: f.Text,
		Fatal: f.Fatal() || f.Kind == lab.GuestPanicked || ended, Ours: ended}
}

func (m monitor) Run(ctx context.Context, cmd string, args, out any) error {
	return m.m.Run(ctx, cmd, args, out)
}

func (m monitor) WaitEvent(ctx context.Context, name string, match func(map[string]any) bool) (map[string]any, error) {
	e, err := m.m.WaitEvent(ctx, name, func(e qemu.Event) bool { return match == nil || match(e.Data) })
	return e.Data, err
}

func (a agent) Receive(ctx context.Context, o client.SinkOptions) (netip.AddrPort, func(context.Context) (client.Transfer, error), error) {
	s, err := a.Sink(ctx, o)
	if err != nil {
		return netip.AddrPort{}, nil, err
	}
	return s.Addr, s.Wait, nil
}

func (a agent) Record(ctx context.Context, o client.CaptureOptions) (func(context.Context) (client.CaptureStats, error), error) {
	c, err := a.Capture(ctx, o)
	if err != nil {
		return nil, err
	}
	return c.Stop, nil
}

func (a agent) Generate(ctx context.Context, generator string, args ...string) (json.RawMessage, error) {
	l, err := a.Load(ctx, client.LoadOptions{Generator: generator, Args: args})
	if err != nil {
		return nil, err
	}
	return l.Wait()
}

func (a agent) Serve(ctx context.Context, generator string, args ...string) (netip.AddrPort, func() error, error) {
	l, err := a.Client.Serve(ctx, client.LoadOptions{Generator: generator, Args: args})
	if err != nil {
		return netip.AddrPort{}, nil, err
	}
	stop := func() error { _, err := l.Stop(); return err }
	at, err := netip.ParseAddrPort(l.Ready)
	if err != nil {
		return at, nil, errors.Join(fmt.Errorf("address of %s: %w", generator, err), stop())
	}
	return at, stop, nil
}

// Dmesg gives the lines of the kernel this runs on, by syslog(2), which takes
// CAP_SYSLOG where dmesg_restrict is set.
func (hostAgent) Dmesg(_ context.Context, _ bool, fn func(line string)) error {
	const readAll, size = 3, 10 // SYSLOG_ACTION_READ_ALL, SYSLOG_ACTION_SIZE_BUFFER
	n, err := unix.Klogctl(size, nil)
	if err != nil {
		return fmt.Errorf("ask for the kernel log's size: %w", err)
	}
	buf := make([]byte, n)
	if n, err = unix.Klogctl(readAll, buf); err != nil {
		return fmt.Errorf("read the kernel's log: %w", err)
	}
	for line := range strings.Lines(string(buf[:n])) {
		_, text, _ := strings.Cut(line, ">") // <priority>[time] text
		fn(strings.TrimSuffix(text, "\n"))
	}
	return nil
}
