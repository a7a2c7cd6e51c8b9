package lint

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"picolab/initramfs"
	"picolab/initramfs/kmod"
	"picolab/initramfs/tree"
	"picolab/recipes"
	"picolab/recipes/lock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReadCards(t *testing.T) {
	cards, err := ReadCards(strings.NewReader(`00:00.0 0600: 8086:29c0
0000:00:1f.6 0200: 8086:15bc (rev 10)
	Subsystem: 17aa:2292
10000:e1:00.0 0207: 15b3:101b
02:00.0 Class 0280: 10ec:c822
03:00.0 0108: 0200:0200
`))
	if err != nil || len(cards) != 3 || cards[0] != (Card{"0000:00:1f.6", "0200", "8086", "15BC"}) || cards[2].Device != "C822" {
		t.Errorf("%+v, %v", cards, err)
	}
	for _, text := range []string{"", "00:1f.6 Ethernet controller: Intel", `00:1f.6 "0200" "8086" "15bc"`, "zz:1f.6 0200: 8086:15bc"} {
		if _, err := ReadCards(strings.NewReader(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func TestDrives(t *testing.T) {
	c := Card{Class: "0200", Vendor: "8086", Device: "15BC"}
	for alias, want := range map[string]bool{
		"pci:v00008086d000015BCsv*sd*bc*sc*i*":                      true,
		"pci:v00008086d000015BCsv000017AAsd00002292bc*sc*i*":        true, // the dump does not tell
		"pci:v00008086d*sv*sd*bc02sc00i*":                           true,
		"pci:v00008086d*sv*sd*bc02sc80i*":                           false,
		"pci:v00008086d000015BDsv*sd*bc*sc*i*":                      false,
		"pci:v000010ECd000015BCsv*sd*bc*sc*i*":                      false,
		"pci:v*d*sv*sd*bc02sc00i*":                                  false,
		"pci:v00008086d000015BC":                                    false,
		"usb:v0BDAp8153d*dc*dsc*dp*ic*isc*ip*in*":                   false,
		"pci:v00008086d000015BCsv*sd*bc*sc*i* # and something more": false,
	} {
		if c.drives(alias) != want {
			t.Errorf("%s: %v", alias, !want)
		}
	}
}

// newLinter has a recipe of the text behind a usual head.
func newLinter(t *testing.T, text string) *linter {
	t.Helper()
	r, err := recipes.Parse("x.yaml", []byte("name: x\nkind: host\narchitecture: amd64\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	return &linter{Input: Input{Recipe: r}}
}

func (l *linter) text() string {
	var lines []string
	for _, f := range l.out {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

func TestSuites(t *testing.T) {
	for name, want := range map[string]string{
		"trixie": "", "bookworm-updates": "", "forky": "", "sid": "", "trixie-security": "",
		"bullseye": "no longer supports bullseye", "buster-backports": "no longer supports buster", "stable": "after the next one comes out",
		"testing-security": "after the next one", "noble": "not one of Debian's", "trixie-backports": "name those that you want with only",
	} {
		l := newLinter(t, "suites:\n  - {name: "+name+", components: [main]}\n")
		l.suites()
		if got := l.text(); (got == "") != (want == "") || !strings.Contains(got, want) || want != "" && !strings.HasPrefix(got, "x.yaml:5:5: warning: ") {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	l := newLinter(t, "suites:\n  - {name: trixie-backports, components: [main], only: [x]}\n")
	if l.suites(); l.text() != "" {
		t.Error(l.text())
	}
}

func TestShim(t *testing.T) {
	for version, want := range map[string]bool{
		"1.51~1+deb13u1+16.1-2~deb13u1": false, "1.51+16.1-2": false, "1.60+17.0-1": false,
		"1.44~1+deb12u1+15.8-1~deb12u1": true, "1.47+15.8-1": true, "1.50+16.1-1": true,
	} {
		l := newLinter(t, "packages: [shim-signed]\n")
		l.packages = []initramfs.Package{{Package: lock.Package{Name: "shim-signed", Version: version}}, {Package: lock.Package{Name: "shim", Version: "1"}}}
		l.shim()
		if got := l.text(); (got != "") != want || want && !strings.Contains(got, "x.yaml:4:12: warning: shim-signed "+version) {
			t.Errorf("%s: %q", version, got)
		}
	}
}

// TestBuiltinDrivers: a driver that is part of the kernel image needs no module.
func TestBuiltinDrivers(t *testing.T) {
	l := newLinter(t, "kernel: {package: linux}\n")
	pkg := tree.New()
	info := "e1000e.license=GPL\x00e1000e.alias=pci:v00008086d000015BCsv*sd*bc*sc*i*\x00"
	if err := pkg.Put("lib/modules/1/modules.builtin.modinfo", tree.Regular(0o644, tree.Bytes([]byte(info)))); err != nil {
		t.Fatal(err)
	}
	l.kernel = &initramfs.Kernel{Release: "1", Tree: pkg}
	l.Cards = []Card{{"00:1f.6", "0200", "8086", "15BC"}, {"01:00.0", "0200", "8086", "9999"}}
	if err := l.cards(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := l.text(); strings.Count(got, "\n") != 0 || !strings.Contains(got, "8086:9999 (01:00.0): kernel 1 has no driver") {
		t.Error(got)
	}
}

// TestEitherDriver is content with one of two drivers for a card.
func TestEitherDriver(t *testing.T) {
	l := newLinter(t, "kernel: {package: linux}\n")
	l.kernel = &initramfs.Kernel{Release: "1"}
	alias := []string{"pci:v00008086d000015BCsv*sd*bc*sc*i*"}
	drivers := []kmod.Module{{Name: "a", Path: "a.ko", Aliases: alias}, {Name: "b", Path: "b.ko", Aliases: alias}}
	c := Card{"00:1f.6", "0200", "8086", "15BC"}
	if l.card(c, drivers, []string{"b"}); l.text() != "" {
		t.Error(l.text())
	}
	if l.card(c, drivers, nil); !strings.Contains(l.text(), "add to kernel.modules: a or b") {
		t.Error(l.text())
	}
}

func TestUsrMerged(t *testing.T) {
	for name, want := range map[string]string{"/bin/sh": "usr/bin/sh", "/lib64/ld.so": "usr/lib64/ld.so", "/usr/bin/sh": "usr/bin/sh", "/library/x": "library/x", "/etc/motd": "etc/motd"} {
		if got := usrMerged(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestDrops names the patterns that keep nothing out.
func TestDrops(t *testing.T) {
	l := newLinter(t, "drop: [/usr/bin/big, /usr/lib/x, '/usr/share/*.txt', /boot]\n")
	for role, names := range map[string][]string{"": {"usr/bin/big", "usr/lib/x/deep/file", "usr/share/a.md"}, lock.RoleKernel: {"boot/vmlinuz"}} {
		pkg := tree.New()
		for _, name := range names {
			if err := pkg.Put(name, tree.Regular(0o644, tree.Bytes(nil))); err != nil {
				t.Fatal(err)
			}
		}
		l.trees = append(l.trees, pkg)
		l.packages = append(l.packages, initramfs.Package{Package: lock.Package{Name: "p" + role, Role: role}})
	}
	l.drops()
	got := l.text()
	if strings.Count(got, "[drop]") != 2 || !strings.Contains(got, "x.yaml:4:34: warning: no package of the lock has /usr/share/*.txt;") || !strings.Contains(got, "has /boot;") {
		t.Error(got)
	}
}
