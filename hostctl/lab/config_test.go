package lab

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"picolab/hostctl/internal/proc"
	"picolab/hostctl/internal/qemu"
	"picolab/images/manifest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// testImage is an image of which only names matter.
func testImage(t *testing.T) *manifest.Manifest {
	t.Helper()
	m := &manifest.Manifest{
		Format: manifest.Format, Name: "guest", Kind: manifest.KindGuest, Architecture: "amd64", CommandLine: []string{"quiet", "panic=-1"},
		Lock: fmt.Sprintf("%064d", 0), Recipe: fmt.Sprintf("%064d", 0), Version: "test", KernelRelease: "6.12", Epoch: 1,
		Files: []manifest.File{{Name: "vmlinuz", Role: manifest.RoleKernel, SHA256: fmt.Sprintf("%064d", 0)}},
	}
	parsed, err := manifest.Parse(m.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestArgvGolden(t *testing.T) {
	s := pair().WithDefaults().withBackends(true)
	s.Guests[1].SpareSlots = 0
	m := testImage(t)
	for i, g := range s.Guests {
		for _, accel := range []string{AccelTCG, AccelKVM} {
			var taps []string
			for j, n := range g.NICs {
				tap := ""
				if n.Backend == BackendTap {
					tap = tapName(i, j)
				}
				taps = append(taps, tap)
			}
			vsock := qemu.Vsock{Kind: "vhost-user", Socket: "/tmp/v.vsock"}
			if accel == AccelKVM {
				vsock = qemu.Vsock{Kind: "kernel", CID: g.CID}
			}
			f := files{kernel: m.Kernel(), initrd: "/tmp/i", qmp: "/tmp/q", consoleSocket: "/tmp/c", consoleLog: "/out/console.log"}
			args, err := qemu.Cmdline(config(s.Name, g, accel, m, vsock, taps, f))
			if err != nil {
				t.Fatal(err)
			}
			golden(t, fmt.Sprintf("argv-%s-%s.txt", g.Name, accel), proc.Quote(args)+"\n")
		}
	}
}

// TestArgvSwitchedGolden pins the argv of NICs on our switch, with a QEMU that is new and one that is not.
func TestArgvSwitchedGolden(t *testing.T) {
	s := switched().WithDefaults()
	m := testImage(t)
	for _, g := range s.Guests {
		ends := make([]string, len(g.NICs))
		for j := range g.NICs {
			ends[j] = fmt.Sprintf("/tmp/%s.nic%d.sock", g.Name, j)
		}
		for _, version := range []qemu.Version{{}, {Major: 7, Minor: 2}} {
			f := files{kernel: m.Kernel(), initrd: "/tmp/i", qmp: "/tmp/q", consoleSocket: "/tmp/c", consoleLog: "/out/console.log"}
			c := config(s.Name, g, AccelTCG, m, qemu.Vsock{Kind: "vhost-user", Socket: "/tmp/v.vsock"}, ends, f)
			c.Version = version
			args, err := qemu.Cmdline(c)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, fmt.Sprintf("argv-switched-%s-%d.txt", g.Name, version.Major), proc.Quote(args)+"\n")
		}
	}
}

// TestArgvBareGolden pins the argv of a guest that boots from the network, and of one with a swap disk.
func TestArgvBareGolden(t *testing.T) {
	s := bare().WithDefaults().withBackends(true)
	f := files{qmp: "/tmp/q", consoleSocket: "/tmp/c", consoleLog: "/out/console.log"}
	args, err := qemu.Cmdline(config(s.Name, s.Guests[0], AccelTCG, nil, qemu.Vsock{}, []string{"tap0n0", "tap0n1"}, f))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "argv-net.txt", proc.Quote(args)+"\n")
	m := testImage(t)
	f.kernel, f.initrd, f.swap = m.Kernel(), "/tmp/i", "/tmp/s"
	if args, err = qemu.Cmdline(config(s.Name, s.Guests[1], AccelTCG, m, qemu.Vsock{Kind: "kernel", CID: 7}, []string{"tap1n0"}, f)); err != nil {
		t.Fatal(err)
	}
	golden(t, "argv-swap.txt", proc.Quote(args)+"\n")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\ngot  %swant %s(-update rewrites it)", name, got, want)
	}
}

// TestApplianceArgv pins what a host image gets beside what every guest has: its root file system, and virtualization.
func TestApplianceArgv(t *testing.T) {
	m := testImage(t)
	m.Kind = manifest.KindHost
	m.Files = append(m.Files, manifest.File{Name: "root.squashfs", Role: manifest.RoleRoot, SHA256: fmt.Sprintf("%064d", 0)})
	s := Spec{Name: "host", Guests: []Guest{{Name: "vm", Image: "host", CPUs: 2, MemoryMiB: 2048}}}.WithDefaults()
	for _, accel := range []string{AccelTCG, AccelKVM} {
		f := files{kernel: m.Kernel(), initrd: "/tmp/i", qmp: "/tmp/q", consoleSocket: "/tmp/c", consoleLog: "/out/console.log"}
		args, err := qemu.Cmdline(config(s.Name, s.Guests[0], accel, m, qemu.Vsock{Kind: "vhost-user", Socket: "/tmp/v.vsock"}, nil, f))
		if err != nil {
			t.Fatal(err)
		}
		golden(t, fmt.Sprintf("argv-host-%s.txt", accel), proc.Quote(args)+"\n")
	}
}

// TestMachineHello shows that a host image has more time than a guest.
func TestMachineHello(t *testing.T) {
	for kind, want := range map[string]Wait{manifest.KindHost: WaitMachine, manifest.KindGuest: WaitHello} {
		v := &VM{image: &manifest.Manifest{Kind: kind}}
		if got := v.helloWait(); got != want {
			t.Errorf("%s: %s", kind, got)
		}
	}
	sleepy := &VM{image: &manifest.Manifest{Kind: manifest.KindGuest}, spec: Guest{SwapMiB: 1}}
	if got := sleepy.helloWait(); got != WaitMachine {
		t.Errorf("a guest that may sleep: %s", got)
	}
	if Timeout(WaitMachine, AccelTCG, 0) <= Timeout(WaitHello, AccelTCG, 0) {
		t.Error("a host image has no more time than a guest")
	}
}
