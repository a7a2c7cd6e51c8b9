package launch

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"picolab/guestagent/load/getopt"

	"picolab/hostctl/internal/qemu"
	"picolab/images/manifest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestUsage(t *testing.T) {
	for args, want := range map[string]string{
		"vmware":                    "qemu or kvm",
		"--tap 01":                  "qemu or kvm",
		"qemu --tap":                "flag needs an argument",
		"qemu --tap x1":             "an index is a number",
		"qemu --tap -1":             "an index is a number",
		"qemu --tap 0001":           "an index is a number",
		"qemu --nic e1000 --tap 01": "no back-end before it",
		"qemu --tap 01 --nic e1000 --nic rtl8139": "has a card already",
		"qemu --tap 01 --nic e1000,fast":          "is no property",
		"qemu --tap 01 --nic e1000,vhost=on":      "vhost=on needs --tap and virtio-net-pci",
		"qemu --netuser 01 --nic virtio,vhost=on": "vhost=on needs --tap",
		"qemu --vhost-user 01 --nic e1000":        "only virtio-net-pci works",
		"qemu --cpus 0":                           "not of 1 to 255",
		"qemu --memory 16":                        "64 MiB at least",
		"qemu --image":                            "flag needs an argument",
		"qemu extra":                              "unexpected argument",
		"qemu --frobnicate":                       "not defined",
	} {
		_, err := ParseOptions(strings.Fields(args))
		if !errors.Is(err, getopt.ErrUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	for _, args := range [][]string{nil, {"--help"}, {"-h"}, {"qemu", "--help"}} {
		if o, err := ParseOptions(args); err != nil || !o.help {
			t.Errorf("%q: %+v, %v", args, o, err)
		}
	}
}

func TestManual(t *testing.T) {
	var out bytes.Buffer
	if err := QEMU(t.Context(), Stdio{Out: &out}, nil); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if len(line) > 81 || strings.Contains(line, "\t") {
			t.Errorf("does not fit a terminal: %q", line)
		}
	}
}

// TestCommands pins the command lines.
func TestCommands(t *testing.T) {
	guest := bootable{words: []string{"quiet", "panic=-1"}}
	self := bootable{host: true, words: []string{"quiet"}, arguments: []string{rootArgument, "rdinit=/" + first},
		disks: []qemu.Disk{{ID: "root", File: "/dev/vda", ReadOnly: true, Device: true}}}
	other := bootable{host: true, words: []string{"quiet"}, arguments: []string{rootArgument}, disks: []qemu.Disk{{ID: "root", File: "/images/host/root.squashfs", ReadOnly: true}}}
	for name, tc := range map[string]struct {
		args  string
		image bootable
		vsock qemu.Vsock
	}{
		"plain":         {"qemu", guest, qemu.Vsock{}},
		"tap":           {"qemu --tap 01", guest, qemu.Vsock{}},
		"kvm-tap-vhost": {"kvm --tap 02 --nic virtio,vhost=on,mrg_rxbuf=off --cpus 4 --memory 1024", guest, qemu.Vsock{}},
		"netuser":       {"qemu --netuser 01 --nic rtl8139 --append loglevel=7 --shell=false", guest, qemu.Vsock{}},
		"vale":          {"kvm --vale 01", guest, qemu.Vsock{}},
		"vale-virtio":   {"kvm --vale 01 --nic virtio-net-pci", guest, qemu.Vsock{}},
		"vhost-user":    {"qemu --vhost-user 01 --vhost-user /run/ovs/p1", guest, qemu.Vsock{}},
		"two-cards":     {"qemu --tap 01 --nic e1000e --netuser 02", guest, qemu.Vsock{}},
		"wait":          {"qemu --netuser 01 --wait", guest, qemu.Vsock{Kind: "kernel", CID: 70000}},
		"host":          {"kvm --tap 02 --image /images/host", other, qemu.Vsock{}},
		"self":          {"qemu --netuser 01 --image self", self, qemu.Vsock{}},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := ParseOptions(strings.Fields(tc.args))
			if err != nil {
				t.Fatal(err)
			}
			args, err := qemu.Cmdline(plan(o, tc.image, tc.vsock, paths{kernel: "/images/vmlinuz", initrd: "/run/initrd", sockets: "/run/picolab"}))
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, "launch-qemu "+tc.args+"\n"+strings.Join(args, "\n")+"\n")
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || got != string(want) {
		t.Errorf("%s differs (%v), -update rewrites it:\n%s", path, err, got)
	}
}

// image makes a folder with an image whose files hold nothing but their names.
func image(t *testing.T, kind string, files ...manifest.File) string {
	t.Helper()
	dir := t.TempDir()
	m := &manifest.Manifest{Name: kind, Kind: kind, Architecture: "amd64"}
	for _, f := range files {
		f.SHA256, f.Size = fmt.Sprintf("%x", sha256.Sum256([]byte(f.Name))), int64(len(f.Name))
		m.Files = append(m.Files, f)
		if err := os.WriteFile(filepath.Join(dir, f.Name), []byte(f.Name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, manifest.Name), m.Encode(), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

var (
	kernelFile  = manifest.File{Name: "vmlinuz", Role: manifest.RoleKernel}
	segmentFile = manifest.File{Name: "base.cpio", Role: manifest.RoleSegment}
	rootFile    = manifest.File{Name: "root.squashfs", Role: manifest.RoleRoot}
)

// TestFind looks for images where an appliance has them.
func TestFind(t *testing.T) {
	guests := filepath.Dir(image(t, manifest.KindGuest, kernelFile, segmentFile))
	if err := os.Rename(image(t, manifest.KindGuest, kernelFile, segmentFile), filepath.Join(guests, "guest")); err != nil {
		t.Fatal(err)
	}
	host := image(t, manifest.KindHost, kernelFile, segmentFile, rootFile)
	none := image(t, manifest.KindHost, rootFile)
	w := world{images: []string{t.TempDir(), guests}, stick: host}
	if b, err := w.find("guest"); err != nil || b.host || len(b.disks) != 0 {
		t.Errorf("guest: %+v, %v", b, err)
	}
	for _, name := range []string{"self", host} {
		b, err := w.find(name)
		if err != nil || !b.host || len(b.disks) != 1 || b.disks[0].File != host+"/root.squashfs" || !slices.Equal(b.arguments, []string{rootArgument}) {
			t.Errorf("%s: %+v, %v", name, b, err)
		}
	}
	if _, err := w.find(none); err == nil || !strings.Contains(err.Error(), "no kernel") {
		t.Errorf("without a kernel: %v", err)
	}
	w.stick = "/nonexistent"
	if _, err := w.find("self"); err == nil || !strings.Contains(err.Error(), "booted appliance") {
		t.Errorf("not in an appliance: %v", err)
	}
}

func TestMACs(t *testing.T) {
	seen := map[string]string{}
	for _, backend := range []string{"tap", "vale", "netuser", "vhost-user"} {
		for _, index := range []string{"01", "02", "03", "1", "10"} {
			m := mac(Card{Backend: backend, Index: index})
			if seen[m] != "" || !strings.HasPrefix(m, "52:54:00:") {
				t.Errorf("%s %s has %s, as %s", backend, index, m, seen[m])
			}
			seen[m] = backend + index
		}
	}
}
