package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picolab/guestagent/client"
	"picolab/hostctl/internal/sandbox"
	"picolab/hostctl/vale"
)

// switchedPair is two guests on one switch, whose cards differ in all that a switch has to bridge: rings of either kind and
// one or two pairs of them, and a socket.
func switchedPair() Spec {
	return Spec{
		Name: "swpair", Accel: AccelTCG,
		Links: []Link{{Name: "lan", Host: netip.MustParsePrefix("10.1.0.1/24"), Capture: true}},
		Guests: []Guest{
			{Name: "a", CPUs: 2, NICs: []NIC{{Model: "virtio-net-pci", Link: "lan", Backend: BackendVale, Queues: 2}}},
			{Name: "b", NICs: []NIC{{Model: "virtio-net-pci", Link: "lan", Backend: BackendVhostUser, Options: []string{"packed=on"}},
				{Model: "e1000", Link: "lan", Backend: BackendVale}}},
		},
	}
}

// TestInsideVale boots two guests on a switch and carries everything over it that a tap would.
func TestInsideVale(t *testing.T) {
	onlyInside(t)
	l := bringSwitched(t)
	t.Run("queues", func(t *testing.T) { checkQueues(t, l) })
	t.Run("generators", func(t *testing.T) { checkGenerators(t, l) })
	t.Run("link", func(t *testing.T) { checkSetLink(t, l) })
	t.Run("reboot", func(t *testing.T) { checkSwitchedReboot(t, l) })
	endSwitched(t, l)
	checkCapture(t, filepath.Join(l.Dir(), "links", "lan.pcapng"))
	checkCounters(t, filepath.Join(l.Dir(), "links", "lan.switch.json"))
}

// TestMachinesQEMU boots the same pair with the QEMU of this machine, which may be years older than the host image's.
func TestMachinesQEMU(t *testing.T) {
	t.Parallel()
	if inside {
		t.Skip("runs outside")
	}
	out, err := exec.Command("qemu-system-x86_64", "--version").Output()
	if err != nil {
		t.Skip("qemu-system-x86_64 is not installed: ", err)
	}
	version, _, _ := strings.Cut(string(out), "\n")
	t.Log(version)
	if _, err := os.Stat("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"); err != nil {
		t.Skip("the machine's libraries are not where Debian has them: ", err)
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "qemu-system-x86_64"), []byte(borrowed), 0o755); err != nil {
		t.Fatal(err)
	}
	runInsideWith(t, "-test.run=^TestBorrowedQEMU -test.v -test.timeout=5m", func(s *sandbox.Spec) {
		s.Binds = append(s.Binds, sandbox.Bind{Source: bin, Target: "/run/machine/bin", ReadOnly: true},
			sandbox.Bind{Source: "/usr", Target: "/run/machine/usr", ReadOnly: true})
		s.Env = append(s.Env, "PATH=/run/machine/bin:/usr/sbin:/usr/bin:/sbin:/bin:/bbin")
	})
}

// borrowed runs the machine's QEMU with its own loader, libraries and firmware.
const borrowed = `#!/bin/sh
usr=/run/machine/usr
lib=$usr/lib/x86_64-linux-gnu
export QEMU_MODULE_DIR=$lib/qemu
exec $lib/ld-linux-x86-64.so.2 --library-path $lib $usr/bin/qemu-system-x86_64 \
  -L $usr/share/seabios -L $usr/share/qemu -L $usr/lib/ipxe/qemu "$@"
`

// TestBorrowedQEMU is what TestMachinesQEMU runs.
func TestBorrowedQEMU(t *testing.T) {
	onlyInside(t)
	endSwitched(t, bringSwitched(t))
}

// bringSwitched brings the pair up and carries data between its cards.
func bringSwitched(t *testing.T) *Lab {
	l := bring(t, switchedPair())
	t.Run("addresses", func(t *testing.T) { addresses(t, l) })
	t.Run("ping", func(t *testing.T) { checkSwitchedPings(t, l) })
	t.Run("transfer", func(t *testing.T) { checkSwitchedTransfers(t, l) })
	return l
}

// endSwitched takes it down, when it had nothing to say.
func endSwitched(t *testing.T, l *Lab) {
	t.Helper()
	if found := l.Findings(); len(found) > 0 {
		t.Errorf("findings: %v", found)
	}
	if err := l.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t)
}

// addresses gives the guests' cards theirs; b's second has a network of its own, or a would answer through the first. Nor does
// a card tell the address of another one as its own, which would be believed if it came first.
func addresses(t *testing.T, l *Lab) {
	if err := l.Guest("b").Agent().Sysctl(t.Context(), "net.ipv4.conf.all.arp_ignore", "1"); err != nil {
		t.Fatal(err)
	}
	give(t, l, "a", 0, l.Guest("a").Addr(0))
	give(t, l, "a", 0, netip.MustParsePrefix("10.2.0.1/24"))
	give(t, l, "b", 0, l.Guest("b").Addr(0))
	give(t, l, "b", 1, netip.MustParsePrefix("10.2.0.2/24"))
}

func give(t *testing.T, l *Lab, guest string, card int, addr netip.Prefix) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*l.Timeout(WaitDriver))
	defer cancel()
	v := l.Guest(guest)
	if err := v.connect(ctx, card, addr); err != nil {
		t.Fatal(err)
	}
	awaitOperstate(t, l, v, card, "up") // cards that negotiate take a while
}

// awaitOperstate waits for a card's operstate.
func awaitOperstate(t *testing.T, l *Lab, v *VM, card int, want string) {
	t.Helper()
	for deadline := time.Now().Add(l.Timeout(WaitDriver)); ; time.Sleep(20 * time.Millisecond) {
		link, err := v.Agent().LinkByMAC(t.Context(), v.MAC(card), l.Timeout(WaitLink))
		if err == nil && link.GetOperstate() == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: operstate is never %s: %v, %v", v.Name(), want, link, err)
		}
	}
}

// checkSwitchedPings pings between the host, rings and sockets, also with what has to be cut into fragments.
func checkSwitchedPings(t *testing.T, l *Lab) {
	a, b := l.Guest("a"), l.Guest("b")
	for _, p := range []struct {
		name string
		from *client.Client
		to   string
		size int
	}{
		{"host to split", l.Host(), "10.1.0.2", 56}, {"host to packed", l.Host(), "10.1.0.3", 56},
		{"packed to host", b.Agent(), "10.1.0.1", 1472}, {"split to packed", a.Agent(), "10.1.0.3", 9000},
		{"virtio to e1000", a.Agent(), "10.2.0.2", 9000}, {"e1000 to virtio", b.Agent(), "10.2.0.1", 56},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), l.Timeout(WaitTransfer))
		o := client.PingOptions{Target: netip.MustParseAddr(p.to), Count: 5, Size: p.size, Interval: 10 * time.Millisecond, Timeout: l.Timeout(WaitPing)}
		if stats, err := p.from.PingHost(ctx, o); err != nil || stats.Received != stats.Sent || stats.Sent != 5 {
			t.Errorf("%s: %+v, %v", p.name, stats, err)
		}
		cancel()
	}
}

// checkSwitchedTransfers carries data over TCP between all kinds of ports. Between rings segmentation is left to the
// receiver, so that the switch passes frames larger than the MTU; for the socket it is done.
func checkSwitchedTransfers(t *testing.T, l *Lab) {
	a, b := l.Guest("a").Agent(), l.Guest("b").Agent()
	const size = 8 << 20
	for _, p := range []struct {
		name     string
		from, to *client.Client
		at       string
	}{
		{"split to packed", a, b, "10.1.0.3"}, {"packed to split", b, a, "10.1.0.2"},
		{"virtio to e1000", a, b, "10.2.0.2"}, {"host to split", l.Host(), a, "10.1.0.2"}, {"packed to host", b, l.Host(), "10.1.0.1"},
	} {
		before := l.Link("lan").Switch().Stats()
		carry(t, l, p.name, p.from, p.to, p.at, size)
		after := l.Link("lan").Switch().Stats()
		if p.name == "split to packed" {
			frames, bytes := toPort(before, after, PortName("b", 0))
			if bytes < size || bytes/frames < 4000 {
				t.Errorf("%s: %d bytes in %d frames: none larger than the MTU", p.name, bytes, frames)
			}
			t.Logf("%s: %d frames of %d bytes on average", p.name, frames, bytes/frames)
		}
	}
}

// carry sends size bytes over TCP and compares what arrives.
func carry(t *testing.T, l *Lab, name string, from, to *client.Client, at string, size int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*l.Timeout(WaitTransfer))
	defer cancel()
	idle := l.Timeout(WaitTransfer)
	sink, err := to.Sink(ctx, client.SinkOptions{Network: "tcp", Idle: idle, Timeout: idle})
	if err != nil {
		t.Fatal(err)
	}
	target := netip.AddrPortFrom(netip.MustParseAddr(at), sink.Addr.Port())
	sent, err := from.Source(ctx, client.SourceOptions{Network: "tcp", Target: target, Bytes: size, Seed: 1, Timeout: idle})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	got, err := sink.Wait(ctx)
	if err != nil || got.Bytes != size || got.SHA256 != sent.SHA256 {
		t.Errorf("%s: %+v of %+v, %v", name, got, sent, err)
	}
	t.Logf("%s: %.0f MB/s", name, got.BitsPerSecond()/8e6)
}

// toPort is what went to a port between two states.
func toPort(before, after vale.Stats, name string) (frames, bytes uint64) {
	of := func(s vale.Stats) vale.Counters {
		for _, p := range s.Ports {
			if p.Name == name {
				return p.Counters
			}
		}
		return vale.Counters{}
	}
	return of(after).ToFrames - of(before).ToFrames, of(after).ToBytes - of(before).ToBytes
}

// checkQueues: the guest has both of a's queue pairs up.
func checkQueues(t *testing.T, l *Lab) {
	a := l.Guest("a").Agent()
	link, err := a.LinkByMAC(t.Context(), l.Guest("a").MAC(0), l.Timeout(WaitLink))
	if err != nil {
		t.Fatal(err)
	}
	for _, queue := range []string{"rx-0/rps_cpus", "rx-1/rps_cpus", "tx-0/tx_timeout", "tx-1/tx_timeout"} {
		if _, err := a.ReadFile(t.Context(), "/sys/class/net/"+link.GetName()+"/queues/"+queue); err != nil {
			t.Error(err)
		}
	}
}

// checkSetLink: the wire can be pulled and put back, by QEMU and by the switch.
func checkSetLink(t *testing.T, l *Lab) {
	a := l.Guest("a")
	set := func(up bool) {
		if err := a.Monitor().Run(t.Context(), "set_link", map[string]any{"name": a.DeviceID(0), "up": up}, nil); err != nil {
			t.Fatal(err)
		}
	}
	set(false)
	awaitOperstate(t, l, a, 0, "down")
	set(true)
	awaitOperstate(t, l, a, 0, "up")
	ping(t, t.Context(), l, l.Host(), a.Addr(0).Addr())
}

// checkSwitchedReboot: rings are given up and taken up again, with the same backend.
func checkSwitchedReboot(t *testing.T, l *Lab) {
	if err := l.Guest("b").Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	give(t, l, "b", 0, l.Guest("b").Addr(0))
	ping(t, t.Context(), l, l.Host(), l.Guest("b").Addr(0).Addr())
}

// checkCounters: the switch's account is kept, and nothing in it is out of order.
func checkCounters(t *testing.T, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var s vale.Stats
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Ports) != 4 || s.Ports[0].Name != hostPort {
		t.Fatalf("%s", data)
	}
	for _, p := range s.Ports {
		if p.FromFrames == 0 || p.ToFrames == 0 || p.FromBad != 0 || p.ToOffload != 0 {
			t.Errorf("%+v", p)
		}
	}
}

// TestUserNamespaceVale: without /dev/net/tun, and without a right outside a user namespace, the host's side of a switch is a
// veth pair, and does what a tap does. What is asked for is no backend at all.
func TestUserNamespaceVale(t *testing.T) {
	onlyInside(t)
	hideTun(t)
	s := Spec{
		Name: "notap", Accel: AccelTCG,
		Links:  []Link{{Name: "lan", Host: netip.MustParsePrefix("10.1.0.1/24"), MTU: 9000}},
		Guests: []Guest{{Name: "a", NICs: []NIC{{Model: "virtio-net-pci", Link: "lan"}}}},
	}
	var said strings.Builder
	env := testEnv(t)
	env.Logf = func(format string, args ...any) { fmt.Fprintf(&said, format+"\n", args...); t.Logf(format, args...) }
	l, err := Up(t.Context(), s, env)
	if err != nil {
		t.Fatal(err)
	}
	defer nothingLeft(t)
	defer l.Down(context.Background())
	if !strings.Contains(said.String(), "the host's side is a veth pair (open tap") {
		t.Error("nobody said what the host's side is")
	}
	give(t, l, "a", 0, l.Guest("a").Addr(0))
	ping(t, t.Context(), l, l.Host(), l.Guest("a").Addr(0).Addr())
	carry(t, l, "host to guest", l.Host(), l.Guest("a").Agent(), "10.1.0.2", 8<<20)
	carry(t, l, "guest to host", l.Guest("a").Agent(), l.Host(), "10.1.0.1", 8<<20)
}

// TestInsideValeModels: every other model of card joins a switch as well, each one of its own.
func TestInsideValeModels(t *testing.T) {
	onlyInside(t)
	s := Spec{Name: "models", Accel: AccelTCG, Guests: []Guest{{Name: "a"}}}
	for i, model := range []string{"e1000e", "igb", "vmxnet3", "rtl8139"} {
		link := Link{Name: model, Host: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i), 1}), 24)}
		s.Links = append(s.Links, link)
		s.Guests[0].NICs = append(s.Guests[0].NICs, NIC{Model: model, Link: model, Backend: BackendVale})
	}
	l := bring(t, s)
	a := l.Guest("a")
	for i, n := range a.Spec().NICs {
		t.Run(n.Model, func(t *testing.T) {
			give(t, l, "a", i, a.Addr(i))
			ping(t, t.Context(), l, l.Host(), a.Addr(i).Addr())
			carry(t, l, "to "+n.Model, l.Host(), a.Agent(), a.Addr(i).Addr().String(), 1<<20)
		})
	}
}
