package kmod

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"picolab/initramfs/internal/leak"
	"picolab/initramfs/tree"
)

func TestMain(m *testing.M) { leak.Main(m) }

func closure(t *testing.T, want ...string) []string {
	t.Helper()
	order, err := Closure(kernel(t), want)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range order {
		names = append(names, m.Name)
	}
	return names
}

func TestClosureOrder(t *testing.T) {
	for _, tc := range []struct{ want, order string }{
		{"virtio_net", "failover net_failover virtio_net"},
		{"virtio-net", "failover net_failover virtio_net"},
		{"e1000 virtio_net e1000", "e1000 failover net_failover virtio_net"},
		{"igb", "i2c_algo_bit ptp dca igb"},
		{"drivers/net/ethernet/intel/*", "e1000 i2c_algo_bit ptp dca igb"},
		{"kernel/drivers/net/ethernet/intel/*", "e1000 i2c_algo_bit ptp dca igb"},
		{"drivers/net/ethernet/*/igb/igb", "i2c_algo_bit ptp dca igb"},
		{"drivers/net/ethernet/*", "e1000 i2c_algo_bit ptp dca igb realtek r8169"},
		{"crc32c-*", "crc32c_intel crc32c_generic"},
		{"r8169", "realtek r8169"},
		{"vfio", "vfio vfio_iommu_type1"},
		{"vfio_iommu_type1", "vfio vfio_iommu_type1"},
		{"openvswitch", "crc32c_intel crc32c_generic libcrc32c openvswitch"},
		{"ksmbd", "ksmbd"},
		{"virtio_pci", ""},
		{"drivers/virtio/*", ""},
		{"", ""},
	} {
		got := closure(t, strings.Fields(tc.want)...)
		if strings.Join(got, " ") != tc.order {
			t.Errorf("%s: got %q, want %q", tc.want, got, tc.order)
		}
	}
}

func TestClosureErrors(t *testing.T) {
	for want, text := range map[string]string{
		"virtio_nett":            "nearest are virtio_net",
		"e100":                   "nearest are e1000",
		"crc32":                  "crc32c_generic",
		"nothing-like-it-at-all": `has no module "nothing_like_it_at_all"`,
		"drivers/net/wifi/*":     "no module matches",
		"zz*":                    "no module matches",
		"drivers/net/[":          "syntax error",
		"self":                   "needs itself",
		"orphan":                 `needed by orphan: kernel 6.12.0-test has no module "no_such_module"`,
	} {
		_, err := Closure(kernel(t), []string{want})
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: got %v, want %q", want, err, text)
		}
	}
	var unknown *UnknownError
	if _, err := Closure(kernel(t), []string{"bogus"}); !errors.As(err, &unknown) || unknown.Name != "bogus" {
		t.Errorf("got %v", err)
	}
}

func TestModuleFields(t *testing.T) {
	order, err := Closure(kernel(t), []string{"virtio_net"})
	if err != nil {
		t.Fatal(err)
	}
	m := order[2]
	if m.Path != "kernel/drivers/net/virtio_net.ko" || m.License != "GPL" || !strings.HasPrefix(m.Vermagic, release) ||
		!slices.Equal(m.Aliases, []string{"virtio:d00000001v*"}) || !slices.Equal(m.Depends, []string{"net_failover"}) {
		t.Errorf("got %+v", m)
	}
}

func TestRelease(t *testing.T) {
	tr := kernel(t)
	if got, err := Release(tr); err != nil || got != release {
		t.Errorf("got %q, %v", got, err)
	}
	if err := tr.Put("lib/modules/6.1.0/kernel/x.ko", tree.Regular(0o644, tree.Bytes(nil))); err != nil {
		t.Fatal(err)
	}
	if _, err := Release(tr); err == nil {
		t.Error("two releases were taken")
	}
	if _, err := Release(tree.New()); err == nil {
		t.Error("no release was taken")
	}
}

func TestBadModules(t *testing.T) {
	good := ko{path: "x.ko", info: []string{"depends="}}.object()
	cut := pack(t, good)
	for name, data := range map[string][]byte{
		"no elf":     pack(t, []byte("text")),
		"no modinfo": pack(t, assemble(nil)),
		"not xz":     good,
		"cut short":  cut[:len(cut)-9],
		"empty":      nil,
	} {
		tr := kernel(t)
		bad := tree.Regular(0o644, tree.Bytes(data))
		if err := tr.Put("usr/lib/modules/"+release+"/kernel/bad.ko.xz", bad); err != nil {
			t.Fatal(err)
		}
		if _, err := Closure(tr, []string{"bad"}); err == nil || !strings.Contains(err.Error(), "kernel/bad.ko.xz") {
			t.Errorf("%s: got %v", name, err)
		}
		if _, err := Closure(tr, []string{"virtio_net"}); err != nil {
			t.Errorf("%s: a bad module nobody asked for: %v", name, err)
		}
	}
}

func TestStage(t *testing.T) {
	got, err := Stage(kernel(t), []string{"openvswitch", "igb", "vfio"}, "lib/modules")
	if err != nil {
		t.Fatal(err)
	}
	dir := "lib/modules/" + release + "/"
	for name, want := range map[string]string{
		"modules.dep": `kernel/arch/x86/crypto/crc32c-intel.ko:
kernel/crypto/crc32c_generic.ko:
kernel/drivers/dca/dca.ko: kernel/drivers/ptp/ptp.ko
kernel/drivers/i2c/algos/i2c-algo-bit.ko:
kernel/drivers/net/ethernet/intel/igb/igb.ko: kernel/drivers/dca/dca.ko kernel/drivers/ptp/ptp.ko kernel/drivers/i2c/algos/i2c-algo-bit.ko
kernel/drivers/ptp/ptp.ko:
kernel/drivers/vfio/vfio.ko:
kernel/drivers/vfio/vfio_iommu_type1.ko: kernel/drivers/vfio/vfio.ko
kernel/lib/libcrc32c.ko:
kernel/net/openvswitch/openvswitch.ko: kernel/lib/libcrc32c.ko
`,
		"modules.softdep": `# Soft dependencies extracted from modules themselves.
softdep vfio post: vfio_iommu_type1 vfio_iommu_none
softdep libcrc32c pre: crc32c
`,
		"modules.builtin": "kernel/drivers/virtio/virtio_pci.ko\nkernel/crypto/ksmbd-aes.ko\n",
	} {
		e, ok := got.Get(dir + name)
		if !ok {
			t.Errorf("no %s", name)
			continue
		}
		if data, err := tree.ReadAll(e.Blob); err != nil || string(data) != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, data, want)
		}
	}
	e, _ := got.Get(dir + "kernel/drivers/ptp/ptp.ko")
	data, err := tree.ReadAll(e.Blob)
	if err != nil || !strings.HasPrefix(string(data), "\x7fELF") || e.Perm() != 0o644 {
		t.Errorf("module is not unpacked: %v", err)
	}
	again, err := Stage(kernel(t), []string{"vfio", "igb", "openvswitch"}, "lib/modules")
	if err != nil || again.Digest() != got.Digest() {
		t.Errorf("another order of names gives other files: %v, %v", tree.Diff(got, again), err)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"a", "bonding", "e100", "e1000", "e1000e", "igb", "igbvf", "igc", "virtio_net"}
	for name, want := range map[string]string{"igb": "igb igc igbvf", "bond": "bonding", "e1000": "e1000 e100 e1000e", "zzzzz": "", "virtionet": "virtio_net"} {
		if got := strings.Join(nearest(name, names), " "); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func FuzzModinfo(f *testing.F) {
	f.Add([]byte("depends=a,b\x00softdep=pre: c post: d\x00alias=x=y\x00"))
	f.Add([]byte("softdep=pre:\x00=\x00\x00depends=,,"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := parseModinfo(string(data))
		for _, name := range m.Depends {
			if name == "" || strings.ContainsAny(name, ",-") {
				t.Errorf("dependency %q", name)
			}
		}
	})
}

func FuzzModule(f *testing.F) {
	f.Add(ko{path: "x.ko", info: []string{"depends=a", "license=GPL"}, exports: []string{"s"}, needs: []string{"t"}}.object())
	f.Add(assemble(nil))
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = parse(data) })
}
