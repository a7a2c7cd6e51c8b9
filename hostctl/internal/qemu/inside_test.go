package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picolab/hostctl/internal/netdev"
	"picolab/hostctl/internal/sandbox"
	"picolab/hostctl/vhostuser/vvsock"
)

// The tests here run QEMU where labs run it: in a sandbox, under seccomp, with real taps. Each is an entry of its own.
var insiders = map[string]func(context.Context) error{
	"devices":  startWithDevices,
	"hotplug":  hotplug,
	"badTap":   notATap,
	"badVhost": vhostWithoutDevice,
	"vsock":    userVsock,
}

func init() {
	for name, fn := range insiders {
		sandbox.Register(name, func(ctx context.Context, _ []byte) int {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			if err := fn(ctx); err != nil {
				fmt.Println(err)
				return 1
			}
			return 0
		})
	}
}

// hostRoots are the roots to try: the built host image, and this machine when it has a QEMU.
func hostRoots() []string {
	var roots []string
	if dir := os.Getenv("PICOLAB_IMAGES"); dir != "" {
		roots = append(roots, filepath.Join(dir, "host", "root"))
	}
	if _, err := exec.LookPath(DefaultBinary); err == nil {
		roots = append(roots, "/")
	}
	return roots
}

func TestInSandbox(t *testing.T) {
	roots := hostRoots()
	if len(roots) == 0 {
		t.Skip("PICOLAB_IMAGES not set: run make test; and no QEMU in PATH")
	}
	for _, root := range roots {
		for name := range insiders {
			t.Run(name+" in "+filepath.Base(filepath.Dir(root)), func(t *testing.T) {
				if name != "vsock" {
					needTun(t)
				}
				runInside(t, root, name)
			})
		}
	}
}

func needTun(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		t.Skip("taps need /dev/net/tun: ", err)
	}
	f.Close()
}

func runInside(t *testing.T, root, entry string) {
	var out strings.Builder
	s, err := sandbox.Start(t.Context(), sandbox.Spec{Root: root, Entry: entry, Stdout: &out, Stderr: &out})
	var denied *sandbox.DeniedError
	if errors.As(err, &denied) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if code, err := s.Wait(); code != 0 || err != nil {
		t.Errorf("status %d, %v\n%s", code, err, out.String())
	}
}

func insideConfig(ctx context.Context) (Config, error) {
	caps, err := Probe(ctx)
	return Config{
		Name: "trial", Accel: "tcg", Version: caps.Version, MemoryMiB: 64, Paused: true, QMPSocket: "/run/qmp",
		ConsoleSocket: "/run/console", ConsoleFile: "/tmp/console",
	}, err
}

func status(ctx context.Context, m Monitor) (string, error) {
	var st struct{ Status string }
	err := m.Run(ctx, "query-status", nil, &st)
	return st.Status, err
}

func startWithDevices(ctx context.Context) error {
	c, err := insideConfig(ctx)
	if err != nil {
		return err
	}
	for i, n := range []NIC{
		{Model: "virtio-net-pci", Backend: "tap"}, {Model: "e1000", Backend: "tap"}, {Model: "rtl8139", Backend: "tap"},
		{Model: "e1000e", Backend: "tap"}, {Model: "virtio-net-pci", Backend: "tap", Queues: 4}, {Model: "virtio-net-pci", Backend: "user"},
		{Model: "virtio-net-pci", Backend: "tap", Options: []string{"status=off", "indirect_desc=off"}},
	} {
		n.ID, n.Tap = fmt.Sprintf("nic%d", i), fmt.Sprintf("tap%d", i)
		if n.Backend == "tap" {
			if err := netdev.CreateTap(netdev.Tap{Name: n.Tap, Queues: n.Queues, Owner: -1}); err != nil {
				return err
			}
		}
		c.NICs = append(c.NICs, n)
	}
	m, err := Start(ctx, c, StartOptions{})
	if err != nil {
		return err
	}
	defer m.Stop(time.Second)
	if err := m.Monitor.Run(ctx, "cont", nil, nil); err != nil {
		return err
	}
	if _, err := m.Monitor.WaitEvent(ctx, "RESUME", nil); err != nil {
		return err
	}
	if st, err := status(ctx, m.Monitor); st != "running" || err != nil {
		return fmt.Errorf("status %q, %v", st, err)
	}
	if err := m.Monitor.Run(ctx, "set_link", map[string]any{"name": "nic99", "up": false}, nil); !IsClass(err, DeviceNotFound) {
		return fmt.Errorf("unknown link: %v", err)
	}
	for _, id := range []string{"nic1", NetdevID("nic1")} {
		if err := m.Monitor.Run(ctx, "set_link", map[string]any{"name": id, "up": false}, nil); err != nil {
			return err
		}
	}
	m.Stop(5 * time.Second)
	return m.Wait()
}

// hotplug adds a tap and a card to a running QEMU: both after seccomp is in force.
func hotplug(ctx context.Context) error {
	c, err := insideConfig(ctx)
	if err != nil {
		return err
	}
	c.SpareSlots = 2
	m, err := Start(ctx, c, StartOptions{})
	if err != nil {
		return err
	}
	defer m.Stop(time.Second)
	for i, model := range []string{"virtio-net-pci", "e1000"} {
		tap, id := fmt.Sprintf("tap%d", i), fmt.Sprintf("hot%d", i)
		if err := netdev.CreateTap(netdev.Tap{Name: tap, Owner: -1}); err != nil {
			return err
		}
		if err := m.Monitor.Run(ctx, "netdev_add", map[string]any{
			"type": "tap", "id": NetdevID(id), "ifname": tap, "script": "no", "downscript": "no",
		}, nil); err != nil {
			return err
		}
		if err := m.Monitor.Run(ctx, "device_add", map[string]any{
			"driver": model, "id": id, "netdev": NetdevID(id), "bus": HotplugBus(c, i),
		}, nil); err != nil {
			return err
		}
	}
	return nil
}

// notATap: an early exit is an error with QEMU's words.
func notATap(ctx context.Context) error {
	c, err := insideConfig(ctx)
	if err != nil {
		return err
	}
	if err := netdev.CreateBridge(netdev.Bridge{Name: "br0"}); err != nil {
		return err
	}
	c.NICs = []NIC{{ID: "n", Model: "e1000", Backend: "tap", Tap: "br0"}}
	if _, err = Start(ctx, c, StartOptions{}); !errors.Is(err, errEnded) || !strings.Contains(err.Error(), "could not configure /dev/net/tun (br0)") {
		return fmt.Errorf("error is %v", err)
	}
	return nil
}

// vhostWithoutDevice: QEMU 7.2 aborts, 10.0 says why; both are errors here.
func vhostWithoutDevice(ctx context.Context) error {
	if _, err := os.Stat("/dev/vhost-net"); err == nil {
		return nil
	}
	c, err := insideConfig(ctx)
	if err != nil {
		return err
	}
	if err := netdev.CreateTap(netdev.Tap{Name: "tap0", Owner: -1}); err != nil {
		return err
	}
	c.NICs = []NIC{{ID: "n", Model: "virtio-net-pci", Backend: "tap", Tap: "tap0", Vhost: true}}
	if _, err = Start(ctx, c, StartOptions{}); !errors.Is(err, errEnded) {
		return fmt.Errorf("error is %v", err)
	}
	return nil
}

// userVsock: shared memory and descriptors over a socket, under seccomp.
func userVsock(ctx context.Context) error {
	c, err := insideConfig(ctx)
	if err != nil {
		return err
	}
	dev, err := vvsock.Listen(vvsock.Config{GuestCID: 3, Socket: "/run/vsock", UDS: "/run/vsock.uds"})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- dev.Serve(ctx) }()
	defer func() { cancel(); dev.Close(); <-served }()
	c.Paused, c.Vsock = false, Vsock{Kind: "vhost-user", Socket: "/run/vsock"}
	m, err := Start(ctx, c, StartOptions{})
	if err != nil {
		return err
	}
	defer m.Stop(time.Second)
	if st, err := status(ctx, m.Monitor); st != "running" || err != nil {
		return fmt.Errorf("status %q, %v", st, err)
	}
	return nil
}
