package qemu

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// guest is what most cases start from.
func guest(change func(*Config)) Config {
	c := Config{
		Name: "a", Accel: "tcg", Kernel: "/run/lab/guest/vmlinuz", Initrd: "/run/lab/a/initrd",
		CommandLine: []string{"console=ttyS0", "quiet", "panic=-1"},
		QMPSocket:   "/run/lab/a/qmp", ConsoleSocket: "/run/lab/a/console", ConsoleFile: "/run/lab/out/a.console",
	}
	change(&c)
	return c
}

func nic(model, backend string, change func(*NIC)) NIC {
	n := NIC{ID: "nic0", Model: model, MAC: "52:54:00:00:00:01", Backend: backend}
	switch backend {
	case "tap":
		n.Tap = "tap0"
	case "vhost-user", "stream":
		n.Socket = "/run/lab/a/nic0"
	}
	if change != nil {
		change(&n)
	}
	return n
}

func withNIC(model, backend string, change func(*NIC)) Config {
	return guest(func(c *Config) { c.NICs = []NIC{nic(model, backend, change)} })
}

var cmdlines = map[string]Config{
	"minimal":  {Accel: "tcg"},
	"q35":      guest(func(*Config) {}),
	"pc":       guest(func(c *Config) { c.Machine = "pc"; c.SpareSlots = 2 }),
	"kvm":      guest(func(c *Config) { c.Accel = "kvm"; c.CPUs = 4; c.MemoryMiB = 1024 }),
	"kvm-cpu":  guest(func(c *Config) { c.Accel = "kvm"; c.CPU = "max" }),
	"flags":    guest(func(c *Config) { c.Paused, c.NoReboot, c.NoShutdown, c.NoSeccomp = true, true, true, true }),
	"firmware": guest(func(c *Config) { c.Firmware = []string{"/usr/share/seabios", "/usr/lib/ipxe/qemu"} }),
	"extra":    guest(func(c *Config) { c.Extra = []string{"-device", "intel-iommu"}; c.RTC = "base=2026-01-01" }),
	"disks": guest(func(c *Config) {
		c.Disks = []Disk{{ID: "root", File: "/run/lab/images/a,b/root.squashfs", ReadOnly: true}, {ID: "swap", File: "/run/lab/out/swap"},
			{ID: "stick", File: "/dev/sda", ReadOnly: true, Device: true}}
	}),
	"firmware-console": guest(func(c *Config) { c.Kernel, c.FirmwareConsole = "", true }),
	"console-log":      guest(func(c *Config) { c.ConsoleSocket = "" }),
	"console-tty":      guest(func(c *Config) { c.ConsoleFile = "" }),
	"commas": guest(func(c *Config) {
		c.Name, c.QMPSocket, c.ConsoleFile = "a,b", "/run/x,y/qmp", "/out/case[model=e1000,vhost=on]/a"
	}),
	"hotplug-q35":      guest(func(c *Config) { c.SpareSlots = 3 }),
	"virtio-status":    withNIC("virtio-net-pci", "tap", func(n *NIC) { n.Options = []string{"status=off"} }),
	"virtio-indirect":  withNIC("virtio-net-pci", "tap", func(n *NIC) { n.Options = []string{"indirect_desc=off", "event_idx=off"} }),
	"virtio-multi":     withNIC("virtio-net-pci", "tap", func(n *NIC) { n.Queues = 4 }),
	"virtio-vhost":     withNIC("virtio-net-pci", "tap", func(n *NIC) { n.Vhost = true; n.Queues = 2 }),
	"virtio-bootrom":   withNIC("virtio-net-pci", "tap", func(n *NIC) { n.BootROM = true; n.Options = []string{"bootindex=1"} }),
	"virtio-user":      withNIC("virtio-net-pci", "user", func(n *NIC) { n.BackendOpts = []string{"restrict=on"} }),
	"virtio-unplugged": withNIC("virtio-net-pci", "none", nil),
	"e1000":            withNIC("e1000", "tap", nil),
	"rtl8139":          withNIC("rtl8139", "tap", nil),
	"e1000e":           withNIC("e1000e", "tap", nil),
	"e1000-stream":     withNIC("e1000", "stream", nil),
	"e1000-listen":     withNIC("e1000", "stream", func(n *NIC) { n.Server = true }),
	"addr":             withNIC("rtl8139", "user", func(n *NIC) { n.Bus, n.Addr = "pcie.0", "0x8" }),
	"igb": guest(func(c *Config) {
		c.SpareSlots = 1
		second := nic("igb", "tap", func(n *NIC) { n.ID, n.Tap, n.MAC = "nic1", "tap1", "52:54:00:00:00:02" })
		c.NICs = []NIC{nic("igb", "tap", nil), second}
	}),
	"vhost-user":        withNIC("virtio-net-pci", "vhost-user", func(n *NIC) { n.Queues = 2 }),
	"vhost-user-server": withNIC("virtio-net-pci", "vhost-user", func(n *NIC) { n.Server = true }),
	"vhost-user-old": guest(func(c *Config) {
		c.Version, c.NICs = Version{7, 2, 22}, []NIC{nic("virtio-net-pci", "vhost-user", nil)}
	}),
	"vhost-user-old-queues": guest(func(c *Config) {
		c.Version, c.NICs = Version{7, 2, 22}, []NIC{nic("virtio-net-pci", "vhost-user", func(n *NIC) { n.Queues = 4; n.Options = []string{"packed=on"} })}
	}),
	"vhost-user-packed": withNIC("virtio-net-pci", "vhost-user", func(n *NIC) { n.Options = []string{"packed=on"} }),
	"vmxnet3-stream":    withNIC("vmxnet3", "stream", nil),
	"igb-stream":        withNIC("igb", "stream", nil),
	"vhost-user-old-kvm": guest(func(c *Config) {
		c.Version, c.Accel, c.NICs = Version{7, 2, 22}, "kvm", []NIC{nic("virtio-net-pci", "vhost-user", nil)}
	}),
	"vsock-user":   guest(func(c *Config) { c.Vsock = Vsock{Kind: "vhost-user", Socket: "/run/lab/a/vsock"} }),
	"vsock-kernel": guest(func(c *Config) { c.Vsock = Vsock{Kind: "kernel", CID: 3} }),
}

// Golden files have one argument a line; `go test -update` rewrites them.
func TestCmdline(t *testing.T) {
	for name, c := range cmdlines {
		t.Run(name, func(t *testing.T) {
			args, err := Cmdline(c)
			if err != nil {
				t.Fatal(err)
			}
			got, file := strings.Join(args, "\n")+"\n", filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestCmdlineHasNoStrayGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if _, ok := cmdlines[strings.TrimSuffix(filepath.Base(f), ".golden")]; !ok {
			t.Errorf("%s belongs to no case", f)
		}
	}
}

func TestCmdlineIsPure(t *testing.T) {
	for name, c := range cmdlines {
		a, _ := Cmdline(c)
		b, _ := Cmdline(c)
		if !slices.Equal(a, b) {
			t.Errorf("%s differs between two calls", name)
		}
	}
}

func TestCmdlineRefuses(t *testing.T) {
	for want, c := range map[string]Config{
		"neither q35 nor pc":        {Machine: "microvm", Accel: "tcg"},
		"neither kvm nor tcg":       {Accel: "auto"},
		"a count is negative":       {Accel: "tcg", CPUs: -1},
		"id or model is missing":    withNIC("", "tap", nil),
		"needs machine q35":         guest(func(c *Config) { c.Machine = "pc"; c.NICs = []NIC{nic("igb", "tap", nil)} }),
		"without an interface name": withNIC("e1000", "tap", func(n *NIC) { n.Tap = "" }),
		"back-end without a socket": withNIC("virtio-net-pci", "vhost-user", func(n *NIC) { n.Socket = "" }),
		"vhost=on with back-end":    withNIC("virtio-net-pci", "user", func(n *NIC) { n.Vhost = true }),
		"has one queue":             withNIC("virtio-net-pci", "user", func(n *NIC) { n.Queues = 2 }),
		"unknown back-end":          withNIC("virtio-net-pci", "netmap", nil),
		"two NICs have the id":      guest(func(c *Config) { c.NICs = []NIC{nic("e1000", "user", nil), nic("e1000", "user", nil)} }),
		"guests start at 3":         guest(func(c *Config) { c.Vsock = Vsock{Kind: "kernel", CID: 2} }),
		"vsock without a socket":    guest(func(c *Config) { c.Vsock = Vsock{Kind: "vhost-user"} }),
		"neither vhost-user nor":    guest(func(c *Config) { c.Vsock = Vsock{Kind: "vsock"} }),
	} {
		if _, err := Cmdline(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

func TestHotplugBus(t *testing.T) {
	for _, c := range []struct {
		machine string
		slots   int
		n       int
		want    string
	}{{"q35", 2, 0, "slot0"}, {"", 2, 1, "slot1"}, {"q35", 2, 2, ""}, {"pc", 0, 5, "pci.0"}} {
		if got := HotplugBus(Config{Machine: c.machine, SpareSlots: c.slots}, c.n); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
