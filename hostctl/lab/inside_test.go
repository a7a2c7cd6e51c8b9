package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"picolab/guestagent/client"
	"picolab/hostctl/internal/initrd"
	"picolab/hostctl/internal/netdev"
	"picolab/hostctl/internal/oops"
	"picolab/hostctl/internal/place"
)

// These tests run inside the sandbox, one lab at a time; see TestGuests.

func testEnv(t *testing.T) Env {
	return Env{Dir: t.TempDir(), Images: place.InsideImages, Cache: place.InsideCache, Logf: t.Logf}
}

func bring(t *testing.T, s Spec) *Lab {
	t.Helper()
	l, err := Up(t.Context(), s, testEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(context.Background()); err != nil {
			t.Error(err)
		}
		nothingLeft(t)
	})
	return l
}

// nothingLeft looks at the whole sandbox: links, processes and socket folders.
func nothingLeft(t *testing.T) {
	t.Helper()
	links, err := netdev.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if l.Name != "lo" && !strings.HasPrefix(l.Name, "ifb") {
			t.Errorf("link %s is left", l.Name)
		}
	}
	for _, p := range processes(t) {
		t.Errorf("process %s is left", p)
	}
	if dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), "lab-*")); len(dirs) > 0 {
		t.Errorf("folders %q are left", dirs)
	}
}

// processes are those beside the sandbox's first two.
func processes(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid != 1 && pid != os.Getpid() {
			name, _ := os.ReadFile("/proc/" + e.Name() + "/comm")
			found = append(found, e.Name()+" "+strings.TrimSpace(string(name)))
		}
	}
	return found
}

func one(nics ...NIC) Spec {
	return Spec{Name: "one", Accel: AccelTCG, Guests: []Guest{{Name: "a", NICs: nics}}}
}

// TestInsidePair boots two guests on one link and follows them through a whole life.
func TestInsidePair(t *testing.T) {
	onlyInside(t)
	s := Spec{
		Name: "pair", Accel: AccelTCG,
		Links: []Link{{Name: "lan", Host: netip.MustParsePrefix("10.1.0.1/24"), MTU: 9000, Capture: true}},
		Guests: []Guest{
			{Name: "a", NICs: []NIC{{Model: "virtio-net-pci", Link: "lan"}, {Model: "e1000", Backend: BackendUser}}},
			{Name: "b", Machine: "pc", NICs: []NIC{{Model: "e1000", Link: "lan"}}},
		},
	}
	l := bring(t, s)
	a, b := l.Guest("a"), l.Guest("b")
	t.Run("hello", func(t *testing.T) { checkHello(t, a) })
	t.Run("ping", func(t *testing.T) { checkPing(t, l) })
	t.Run("files", func(t *testing.T) { checkFiles(t, a.Agent()) })
	t.Run("evidence", func(t *testing.T) { checkEvidence(t, l) })
	t.Run("hotplug tap", func(t *testing.T) { checkNewTap(t, l) })
	t.Run("reboot", func(t *testing.T) { checkReboot(t, a) })
	t.Run("off and on", func(t *testing.T) { checkOffOn(t, b) })
	if found := l.Findings(); len(found) > 0 {
		t.Errorf("findings: %v", found)
	}
	for range 2 {
		if err := l.Down(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	nothingLeft(t)
	checkCapture(t, filepath.Join(l.Dir(), "links", "lan.pcapng"))
}

func checkHello(t *testing.T, v *VM) {
	h := v.Hello()
	if h.GetImageId() != v.Image().ID || h.GetKernel() != v.Image().KernelRelease || h.GetHostname() != "a" {
		t.Errorf("hello %v of image %s %s", h, v.Image().ID, v.Image().KernelRelease)
	}
	if v.State() != StateUp || v.BootTime() <= 0 {
		t.Errorf("state %s, boot time %v", v.State(), v.BootTime())
	}
	conn, err := v.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stranger := client.New(conn)
	defer stranger.Close()
	if _, err := stranger.Hello(t.Context(), initrd.NewToken()); err == nil {
		t.Error("an agent took a wrong token")
	}
}

// checkPing gives both guests their planned addresses.
func checkPing(t *testing.T, l *Lab) {
	ctx, cancel := context.WithTimeout(t.Context(), l.Timeout(WaitTransfer))
	defer cancel()
	for _, v := range l.Guests() {
		if err := v.Connect(ctx); err != nil {
			t.Fatal(err)
		}
	}
	a, b := l.Guest("a"), l.Guest("b")
	ping(t, ctx, l, l.Host(), a.Addr(0).Addr())
	ping(t, ctx, l, a.Agent(), l.Link("lan").Host().Addr())
	ping(t, ctx, l, a.Agent(), b.Addr(0).Addr())
}

func ping(t *testing.T, ctx context.Context, l *Lab, from *client.Client, to netip.Addr) {
	t.Helper()
	stats, err := from.PingHost(ctx, client.PingOptions{Target: to, Count: 5, Size: 56, Interval: 10 * time.Millisecond, Timeout: l.Timeout(WaitPing)})
	if err != nil || stats.Received == 0 {
		t.Errorf("ping %v: %+v, %v", to, stats, err)
	}
}

func checkFiles(t *testing.T, c *client.Client) {
	data := make([]byte, 3<<20+7)
	rand.Read(data)
	if _, _, err := c.Put(t.Context(), "/tmp/data", 0o600, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	var back bytes.Buffer
	if _, _, err := c.Get(t.Context(), "/tmp/data", &back); err != nil || !bytes.Equal(back.Bytes(), data) {
		t.Errorf("%d bytes back, %v", back.Len(), err)
	}
}

func checkEvidence(t *testing.T, l *Lab) {
	for _, v := range l.Guests() {
		argv, err := os.ReadFile(filepath.Join(v.Dir(), "argv.txt"))
		if err != nil || !strings.HasPrefix(string(argv), "qemu-system-x86_64 ") || strings.Contains(string(argv), v.Token()) {
			t.Errorf("argv.txt: %q, %v", argv, err)
		}
		qmp, err := os.ReadFile(filepath.Join(v.Dir(), "qmp.log"))
		if err != nil || !bytes.Contains(qmp, []byte("qmp_capabilities")) {
			t.Errorf("qmp.log: %q, %v", qmp, err)
		}
		if info, err := os.Stat(v.ConsolePath()); err != nil || info.Size() == 0 {
			t.Errorf("console.log of %s: %v", v.Name(), err)
		}
	}
}

func checkNewTap(t *testing.T, l *Lab) {
	end, remove, err := l.NewEnd("lan", "virtio-net-pci")
	if err != nil {
		t.Fatal(err)
	}
	link, err := netdev.Get(end.Tap)
	if err != nil || link.Master != l.Link("lan").Bridge() || link.MTU != 9000 {
		t.Errorf("tap %+v, %v", link, err)
	}
	if err := remove(t.Context()); err != nil || netdev.Exists(end.Tap) {
		t.Errorf("remove: %v; it is there: %v", err, netdev.Exists(end.Tap))
	}
	var spec *SpecError
	if _, _, err := l.NewEnd("wan", "e1000"); !errors.As(err, &spec) {
		t.Errorf("end on an unknown link: %v", err)
	}
}

func checkReboot(t *testing.T, v *VM) {
	before := v.Hello().GetBootId()
	if err := v.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := v.Hello().GetBootId(); now == before {
		t.Errorf("boot id is still %s", now)
	}
	if err := v.Agent().Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func checkOffOn(t *testing.T, v *VM) {
	argv, token := v.Argv(), v.Token()
	if err := v.PowerOff(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v.State() != StateOff || v.Agent() != nil || v.Monitor() != nil {
		t.Errorf("after power off: %s", v.State())
	}
	if err := v.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := v.Start(t.Context()); err == nil {
		t.Error("started twice")
	}
	if !slices.Equal(argv, v.Argv()) || token == v.Token() {
		t.Error("the second start has another argv or the same token")
	}
}

func checkCapture(t *testing.T, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// ICMP echo requests were seen: pcapng's section header (its draft, section 4.1), and our addresses.
	if !bytes.HasPrefix(data, []byte{0x0a, 0x0d, 0x0d, 0x0a}) || !bytes.Contains(data, []byte{10, 1, 0, 2, 10, 1, 0, 3}) {
		t.Errorf("capture of %d bytes lacks guest-to-guest packets", len(data))
	}
}

// TestInsideSilentGuest: the verdict on an image whose agent never says Hello shows the console's last lines.
func TestInsideSilentGuest(t *testing.T) {
	onlyInside(t)
	defer func(s scaling) { table[WaitHello] = s }(table[WaitHello])
	table[WaitHello] = scaling{base: 2 * time.Second}
	s := one()
	s.Guests[0].Image = fakeImage(t, fakeInit("my agent is on holiday\n", false))
	_, err := Up(t.Context(), s, testEnv(t))
	var guest *GuestError
	if !errors.As(err, &guest) || guest.Guest != "a" || !slices.Contains(guest.Console, "my agent is on holiday") || !strings.Contains(err.Error(), "no Hello within 20s") {
		t.Errorf("got %v", err)
	}
	nothingLeft(t)
}

// TestInsidePanic: a kernel crash at boot is a verdict of its own, long before the timeout.
func TestInsidePanic(t *testing.T) {
	onlyInside(t)
	s := one()
	s.Guests[0].Image = fakeImage(t, fakeInit("init gives up\n", true))
	began := time.Now()
	_, err := Up(t.Context(), s, testEnv(t))
	var guest *GuestError
	if !errors.As(err, &guest) || !slices.ContainsFunc(guest.Findings, func(f oops.Finding) bool { return f.Kind == oops.Panic || f.Kind == oops.Init }) {
		t.Fatalf("got %v", err)
	}
	if took, limit := time.Since(began), Timeout(WaitHello, AccelTCG, 0); took >= limit {
		t.Errorf("the verdict took %v", took)
	}
	nothingLeft(t)
}

// TestInsideBadEnds: a panic of a running guest and a QEMU that dies are findings at once.
func TestInsideBadEnds(t *testing.T) {
	onlyInside(t)
	l := bring(t, one())
	v := l.Guest("a")
	t.Run("panic", func(t *testing.T) {
		v.Agent().Power(t.Context(), "crash")
		until(t, "a panic is found", func() bool {
			return slices.ContainsFunc(v.Findings(), func(f oops.Finding) bool { return f.Kind == oops.Panic || f.Kind == GuestPanicked })
		})
	})
	t.Run("kill", func(t *testing.T) {
		pid := v.current().machine.Pid()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		until(t, "QEMU's end is found", func() bool {
			found := v.Findings()
			return len(found) > 0 && found[len(found)-1].Kind == QEMUEnded && v.State() == StateDead
		})
	})
}

// TestInsideInterrupted: whenever ctx ends, Up leaves nothing.
func TestInsideInterrupted(t *testing.T) {
	onlyInside(t)
	for _, after := range []time.Duration{0, 20, 60, 150, 400, 1500} {
		ctx, cancel := context.WithTimeout(t.Context(), after*time.Millisecond)
		s := one(NIC{Model: "virtio-net-pci", Link: "lan"})
		s.Links = []Link{{Name: "lan", Host: netip.MustParsePrefix("10.1.0.1/24")}}
		l, err := Up(ctx, s, testEnv(t))
		cancel()
		if err == nil {
			l.Down(t.Context())
			t.Fatalf("up within %d ms", after)
		}
		var infra *InfraError
		if !errors.As(err, &infra) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %d ms: %v", after, err)
		}
		nothingLeft(t)
	}
}

// TestInsideInfrastructure: faults that are not the guest's are told apart.
func TestInsideInfrastructure(t *testing.T) {
	onlyInside(t)
	tests := []struct {
		name   string
		change func(*Spec, *Env)
		want   string
	}{
		{"no image", func(s *Spec, _ *Env) { s.Guests[0].Image = "none" }, "read image of guest a"},
		{"no agent", func(_ *Spec, e *Env) { e.Agent = "/none" }, "start host agent"},
		{"bad agent", func(_ *Spec, e *Env) { e.Agent = "/usr/bin/qemu-system-x86_64" }, "host agent"},
		{"unknown device", func(s *Spec, _ *Env) { s.Guests[0].NICs = []NIC{{Model: "e2000", Backend: BackendUser}} }, "e2000"},
		{"no vhost", func(s *Spec, _ *Env) {
			s.Links = []Link{{Name: "lan"}}
			s.Guests[0].NICs = []NIC{{Model: "virtio-net-pci", Link: "lan", Vhost: true}}
		}, "vhost"},
		{"no kvm", func(s *Spec, _ *Env) { s.Accel = AccelKVM }, "kvm does not work here"},
		{"no folder", func(_ *Spec, e *Env) { e.Dir = "/proc/none" }, "make evidence folder"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, env := one(), testEnv(t)
			tt.change(&s, &env)
			_, err := Up(t.Context(), s, env)
			var infra *InfraError
			if !errors.As(err, &infra) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an *InfraError with %q", err, tt.want)
			}
			nothingLeft(t)
		})
	}
}
