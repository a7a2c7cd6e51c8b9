package vhostnet_test

import (
	"strings"
	"testing"

	"picolab/hostctl/catalogue/internal/fake"
	"picolab/hostctl/catalogue/vhostnet"
	"picolab/hostctl/report"
)

func all(int) bool              { return true }
func size(n int) func(int) bool { return func(s int) bool { return s == n } }

const kernelBug = "BUG: kernel NULL pointer dereference, address: 0000000000000000"

// TestPass shows that every instance passes on a lab where all is well.
func TestPass(t *testing.T) {
	results, err := fake.Run(t.TempDir(), vhostnet.Cases(), "vhostnet", fake.Faults{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Result != report.Pass {
			t.Errorf("%s: %s: %s", r.Instance, r.Result, r.Reason)
		}
		for _, n := range r.Notes {
			if strings.Contains(n, "fresh lab") || strings.Contains(n, "cleanup") {
				t.Errorf("%s: %s", r.Instance, n)
			}
		}
	}
}

// TestFail shows for every case that it can fail, and by which check.
func TestFail(t *testing.T) {
	tests := []struct {
		name, selector string
		faults         fake.Faults
		check          string // begins the check that does not hold
	}{
		{"one size is lost", "vhostnet.ping", fake.Faults{Loss: size(1505)}, "ping 1505 bytes"},
		{"all is lost", "vhostnet.ping", fake.Faults{Loss: all}, "ping 0 bytes"},
		{"fragments that are too many are answered", "vhostnet.ping-oversize", fake.Faults{Glued: true}, "65508 bytes in fragments"},
		{"an oversized request is answered", "vhostnet.ping-oversize", fake.Faults{Oversized: true}, "ping 65508 bytes"},
		{"the guest is dead afterwards", "vhostnet.ping-oversize", fake.Faults{Loss: size(56)}, "ping afterwards"},
		{"the guest is dead after the flood", "vhostnet.ping-flood", fake.Faults{Loss: size(56)}, "ping after a flood of 1500"},
		{"the kernel complains in the flood", "vhostnet.ping-flood",
			fake.Faults{Oops: kernelBug}, "kernel log of a"},
		{"a byte is wrong", "vhostnet.data-transfer", fake.Faults{Corrupt: true}, "host to guest"},
		{"the guest is dead after the transfer", "vhostnet.data-transfer", fake.Faults{Loss: size(56)}, "ping afterwards"},
		{"the MTU is not used", "vhostnet.jumbo[nic=e1000]", fake.Faults{ShortMTU: true}, "ping 16082 bytes"},
		{"frames reach the other VLAN", "vhostnet.vlan", fake.Faults{LeakVLANs: true}, "ping from VLAN 10 to 20"},
		{"frames do not reach the same VLAN", "vhostnet.vlan", fake.Faults{Loss: size(56)}, "ping in the same VLAN"},
		{"there is no S3", "vhostnet.suspend-s3", fake.Faults{Shallow: true}, "kind of sleep"},
		{"the guest boots anew instead of waking up", "vhostnet.suspend-s3", fake.Faults{Forgotten: true}, "boot id after the sleep"},
		{"the card is dead after the sleep", "vhostnet.suspend-s3", fake.Faults{Numb: true}, "after the sleep: ping rtl8139"},
		{"the address is gone after the sleep", "vhostnet.suspend-s3", fake.Faults{Amnesia: true}, "settings of the cards"},
		{"a card is dead after the floods", "vhostnet.multi-nic-stress", fake.Faults{Loss: size(56)}, "after the flood: ping rtl8139"},
		{"the kernel complains in the floods", "vhostnet.multi-nic-stress",
			fake.Faults{Oops: "WARNING: CPU: 0 PID: 1 at net/sched/sch_generic.c:525 dev_watchdog+0x1f4/0x200"}, "kernel log of a"},
		{"a byte of the archive is wrong", "vhostnet.driver-reload", fake.Faults{Corrupt: true}, "archive"},
		{"the guest is dead after the reloads", "vhostnet.driver-reload", fake.Faults{Loss: size(56)}, "ping afterwards"},
		{"the bond is dead", "vhostnet.bonding", fake.Faults{Loss: size(56)}, "ping of the bond"},
		{"half is lost in the flaps", "vhostnet.bonding", fake.Faults{Flappy: 50}, "ping during the flaps"},
		{"a byte is wrong in the flaps", "vhostnet.bonding", fake.Faults{Corrupt: true}, "data to the guest during the flaps"},
		{"a port stays down", "vhostnet.bonding", fake.Faults{Lame: true}, "ports that are up"},
		{"nothing boots", "vhostnet.pxe", fake.Faults{Bricked: true}, "TFTP read requests"},
		{"nothing is asked of TFTP", "vhostnet.pxe", fake.Faults{NoTFTP: true}, "TFTP read requests"},
		{"what arrives does not run", "vhostnet.pxe", fake.Faults{Corrupt: true}, "the served script"},
		{"the guest boots anew", "vhostnet.suspend-s4", fake.Faults{Forgotten: true}, "boot id after the sleep"},
		{"the card is dead after the resume", "vhostnet.suspend-s4", fake.Faults{Numb: true}, "after the sleep: ping rtl8139"},
		{"the address is gone after the resume", "vhostnet.suspend-s4", fake.Faults{Amnesia: true}, "settings of the cards"},
		{"full frames do not", "vhostnet.vlan", fake.Faults{Loss: size(1472)}, "ping full frames"},
		{"the guest is dead after the changes", "vhostnet.jumbo-toggle", fake.Faults{Loss: size(56)}, "ping after the flood"},
		{"the kernel complains of a change", "vhostnet.jumbo-toggle", fake.Faults{Oops: kernelBug}, "kernel log of a"},
		{"the MTU stays", "vhostnet.jumbo-toggle", fake.Faults{Forget: true}, "MTU of the guest's card afterwards"},
		{"a byte is wrong meanwhile", "vhostnet.promisc", fake.Faults{Corrupt: true}, "host to guest meanwhile"},
		{"the mode stays, by the card", "vhostnet.promisc[nic=virtio]", fake.Faults{KeepPromisc: true}, "query-rx-filter promiscuous off"},
		{"the mode stays, by the guest", "vhostnet.promisc[nic=e1000]", fake.Faults{KeepPromisc: true}, "promiscuous flag off"},
		{"a group hears nothing", "vhostnet.multicast", fake.Faults{LoseTo: "03:00:00:00:40:00"}, "packet to 03:00:00:00:40:00"},
		{"a station hears nothing", "vhostnet.multicast", fake.Faults{LoseTo: "02:00:5e:c0:01:64"}, "packet to 02:00:5e:c0:01:64"},
		{"no segment is large", "vhostnet.offload-tso", fake.Faults{Segments: 1514}, "largest frame captured"},
		{"a byte of a large segment is wrong", "vhostnet.offload-tso", fake.Faults{Corrupt: true}, "guest to host"},
		{"tso is not to be had", "vhostnet.offload-tso", fake.Faults{KeepFeatures: true}, "gso by ethtool"},
		{"a segment is large without tso", "vhostnet.offload-gso", fake.Faults{Segments: 9014}, "largest frame captured"},
		{"tso stays", "vhostnet.offload-gso", fake.Faults{KeepFeatures: true}, "tso by ethtool"},
		{"nobody answers netperf", "vhostnet.netperf-stress", fake.Faults{NoServer: true}, "TCP_STREAM host to guest"},
		{"nothing moves", "vhostnet.netperf-stress", fake.Faults{Stall: true}, "UDP_STREAM guest to host"},
		{"the guest is dead after netperf", "vhostnet.netperf-stress", fake.Faults{Loss: size(56)}, "ping afterwards"},
		{"the kernel complains under netperf", "vhostnet.netperf-stress", fake.Faults{Oops: kernelBug}, "kernel log of a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // they wait for what does not come
			results, err := fake.Run(t.TempDir(), vhostnet.Cases(), tt.selector, tt.faults)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				fake.MustFail(t, r, tt.check)
			}
		})
	}
}

// TestEnds shows that what the guest does not do is the guest's fault, also where the instance ends at a wait and not at a
// check.
func TestEnds(t *testing.T) {
	for _, tt := range []struct {
		selector string
		faults   fake.Faults
		want     string
	}{
		{"vhostnet.suspend-s3", fake.Faults{Sleepless: true}, "did not fall asleep: suspend to mem: device or resource busy"},
		{"vhostnet.suspend-s3", fake.Faults{Coma: true}, "no WAKEUP event"},
		{"vhostnet.suspend-s4", fake.Faults{Sleepless: true}, "suspend to disk: no space left on device"},
		{"vhostnet.driver-reload", fake.Faults{KeepDriver: true}, "unload module"},
		{"vhostnet.driver-reload", fake.Faults{NoReturn: true}, "bring card back: no link with address"},
	} {
		results, err := fake.Run(t.TempDir(), vhostnet.Cases(), tt.selector, tt.faults)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Result != report.Fail || !strings.Contains(r.Reason, tt.want) {
				t.Errorf("%s: %s: %s; want a FAIL with %q", r.Instance, r.Result, r.Reason, tt.want)
			}
		}
	}
}

// TestFlapsHaveATolerance shows that a bond that loses a little is told apart from one that loses nothing.
func TestFlapsHaveATolerance(t *testing.T) {
	results, err := fake.Run(t.TempDir(), vhostnet.Cases(), "vhostnet.bonding", fake.Faults{Flappy: 3})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Result != report.Degraded || !strings.Contains(r.Reason, "3% packet loss (3 of 100), and the data arrived intact") {
			t.Errorf("%s: %s: %s", r.Instance, r.Result, r.Reason)
		}
	}
}
