package netdev

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"picolab/hostctl/internal/leak"
	"picolab/hostctl/internal/nstest"
)

func TestMain(m *testing.M) {
	before, err := List()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(leak.Run(m, func() error {
		if after, err := List(); err != nil || len(after) != len(before) {
			return fmt.Errorf("links before: %v, now: %v, %v", before, after, err)
		}
		return nil
	}))
}

func needTun(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile(tunPath, os.O_RDWR, 0)
	if err != nil {
		t.Skip("taps need /dev/net/tun: ", err)
	}
	f.Close()
}

// must is for use outside the test's goroutine, where Fatal does not work.
func must(t *testing.T, errs ...error) bool {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	return errors.Join(errs...) == nil
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return strings.TrimSpace(string(data))
}

func TestBridgeOfTaps(t *testing.T) {
	needTun(t)
	nstest.Run(t, func() {
		mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
		ok := must(t,
			CreateBridge(Bridge{Name: "br0", MAC: mac}),
			CreateTap(Tap{Name: "tap0", Owner: -1, Master: "br0", MTU: 9000}),
			CreateTap(Tap{Name: "tap1", Owner: 65534, Queues: 4, Master: "br0", MTU: 2000}),
			Up("br0"), AddAddr("br0", netip.MustParsePrefix("10.1.2.1/24")), AddAddr("br0", netip.MustParsePrefix("fd00::1/64")))
		if !ok {
			return
		}
		br, err := Get("br0")
		if err != nil || br.Kind != "bridge" || !br.Up || br.MAC.String() != mac.String() || len(br.Addrs) < 2 {
			t.Errorf("%+v, %v", br, err)
		}
		if br.MTU != 2000 {
			t.Errorf("the bridge has mtu %d and does not follow its smallest port", br.MTU)
		}
		tap, err := Get("tap1")
		if err != nil || tap.Kind != "tuntap" || tap.Master != "br0" || tap.MTU != 2000 || !tap.Up {
			t.Errorf("%+v, %v", tap, err)
		}
		all, err := List()
		if err != nil || len(all) != 4 { // with lo
			t.Errorf("%+v, %v", all, err)
		}
		must(t, SetMaster("tap0", ""), Delete("tap0"), Delete("tap1"), Delete("br0"))
		if Exists("br0") || Exists("tap0") {
			t.Error("deleted links are still there")
		}
	})
}

// The kernel's view of /sys belongs to the namespace that mounted it, so bridge options are read through a new mount.
func TestBridgeOptions(t *testing.T) {
	nstest.Run(t, func() {
		dir := t.TempDir()
		if err := errors.Join(unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("sysfs", dir, "sysfs", 0, "")); err != nil {
			t.Error(err)
			return
		}
		for _, snoop := range []bool{false, true} {
			if !must(t, CreateBridge(Bridge{Name: "br0", McastSnooping: snoop}), Up("br0")) {
				return
			}
			for option, want := range map[string]string{
				"multicast_snooping": map[bool]string{false: "0", true: "1"}[snoop], "stp_state": "0",
			} {
				if got := read(t, dir+"/class/net/br0/bridge/"+option); got != want {
					t.Errorf("%s is %s", option, got)
				}
			}
			must(t, Delete("br0"))
		}
		must(t, unix.Unmount(dir, 0))
	})
}

func TestMTULimits(t *testing.T) {
	needTun(t)
	nstest.Run(t, func() {
		must(t, CreateTap(Tap{Name: "tap0", Owner: -1, MTU: MaxTapMTU}), SetMTU("tap0", MinMTU))
		if err := SetMTU("tap0", MaxTapMTU+1); !errors.Is(err, unix.EINVAL) {
			t.Error(err)
		}
		if err := CreateTap(Tap{Name: "tap1", Owner: -1, MTU: MaxTapMTU + 1}); err == nil || Exists("tap1") {
			t.Errorf("%v; and something is left: %v", err, Exists("tap1"))
		}
		must(t, CreateBridge(Bridge{Name: "br0", MTU: 4000}), CreateTap(Tap{Name: "tap2", Owner: -1, Master: "br0"}))
		if br, err := Get("br0"); err != nil || br.MTU != 4000 {
			t.Errorf("a bridge with an mtu of its own has %d, %v", br.MTU, err)
		}
		must(t, CreateBridge(Bridge{Name: "br1", MTU: 1500}), CreateTap(Tap{Name: "tap3", Owner: -1, Master: "br1", MTU: 9000}))
		if br, err := Get("br1"); err != nil || br.MTU != 1500 {
			t.Errorf("a bridge with the default mtu pinned has %d, %v", br.MTU, err)
		}
	})
}

func TestVeth(t *testing.T) {
	nstest.Run(t, func() {
		mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
		a := netip.MustParsePrefix("10.0.0.1/24")
		ok := must(t, CreateVeth("v0", "v1"), SetMAC("v0", mac), Up("v0"), Up("v1"), AddAddr("v0", a), SetPromisc("v1", true),
			AddNeigh("v0", netip.MustParseAddr("10.0.0.2"), mac), AddNeigh("v0", netip.MustParseAddr("10.0.0.2"), mac))
		if !ok {
			return
		}
		// IPv4 goes out to the static neighbour and is counted on both ends.
		c, err := net.Dial("udp4", "10.0.0.2:9")
		if err != nil {
			t.Error(err)
			return
		}
		for range 10 {
			_, _ = c.Write(make([]byte, 100))
		}
		c.Close()
		v0, err0 := Get("v0")
		v1, err1 := Get("v1")
		must(t, err0, err1)
		if v0.Stats.TxPackets < 10 || v1.Stats.RxBytes < 1000 || !v1.Promisc || v0.Promisc {
			t.Errorf("%+v %+v", v0, v1)
		}
		must(t, DelNeigh("v0", netip.MustParseAddr("10.0.0.2")), DelAddr("v0", a), SetPromisc("v1", false), Down("v0"), Delete("v0"))
		if Exists("v1") {
			t.Error("the peer stayed")
		}
	})
}

func TestErrorsNameTheLink(t *testing.T) {
	nstest.Run(t, func() {
		for _, err := range []error{Up("nope0"), SetMTU("nope0", 1500), Delete("nope0"), AddAddr("nope0", netip.MustParsePrefix("10.0.0.1/8")), SetMaster("lo", "nope0")} {
			if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "nope0") {
				t.Error(err)
			}
		}
		for _, name := range []string{"", "sixteen-letters-"} {
			if CreateBridge(Bridge{Name: name}) == nil || CreateTap(Tap{Name: name}) == nil || CreateVeth("a", name) == nil {
				t.Errorf("name %q was accepted", name)
			}
		}
		must(t, CreateBridge(Bridge{Name: "br0"}))
		if err := CreateTap(Tap{Name: "br0", Owner: -1}); !errors.Is(err, os.ErrExist) {
			t.Error(err)
		}
		if err := AddAddr("br0", netip.MustParsePrefix("10.0.0.1/8")); err != nil {
			t.Error(err)
		}
		if err := AddAddr("br0", netip.MustParsePrefix("10.0.0.1/8")); !errors.Is(err, unix.EEXIST) {
			t.Error(err)
		}
	})
}

func TestProbeTap(t *testing.T) {
	ok, evidence := ProbeTap()
	if evidence == "" {
		t.Error("no evidence")
	}
	if ok && Exists("probe0") {
		t.Error("the probe left a link")
	}
	t.Log(ok, evidence)
}
