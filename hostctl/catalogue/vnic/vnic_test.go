package vnic_test

import (
	"strings"
	"testing"

	"picolab/hostctl/catalogue/internal/fake"
	"picolab/hostctl/catalogue/vnic"
	"picolab/hostctl/report"
)

func all(int) bool              { return true }
func size(n int) func(int) bool { return func(s int) bool { return s == n } }

// TestPass shows that every instance passes on a lab where all is well.
func TestPass(t *testing.T) {
	results, err := fake.Run(t.TempDir(), vnic.Cases(), "vnic", fake.Faults{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		want := report.Pass
		if r.Case == "vnic.hotplug-legacy" { // whose commands QEMU has no more
			want = report.Skip
		}
		if r.Result != want {
			t.Errorf("%s: %s: %s", r.Instance, r.Result, r.Reason)
		}
		for _, n := range r.Notes {
			if strings.Contains(n, "fresh lab") || strings.Contains(n, "cleanup") {
				t.Errorf("%s: %s", r.Instance, n)
			}
		}
	}
}

// usual is the size of an ordinary ping, which the lab's own first one is not.
func usual(size int) bool { return size == 56 }

// TestFail shows for every case that it can fail, and by which check.
func TestFail(t *testing.T) {
	tests := []struct {
		name, selector string
		faults         fake.Faults
		check          string // begins the check that does not hold
	}{
		{"another driver", "vnic.driver-info", fake.Faults{Driver: "tg3"}, "driver by ethtool"},
		{"indirect_desc is missing", "vnic.features-default", fake.Faults{Flip: []int{28}}, "feature bit 28"},
		{"event_idx is missing", "vnic.features-default", fake.Faults{Flip: []int{29}}, "feature bit 29"},
		{"indirect_desc is there", "vnic.features-off", fake.Faults{Flip: []int{28}}, "feature bit 28"},
		{"event_idx is there", "vnic.features-off", fake.Faults{Flip: []int{29}}, "feature bit 29"},
		{"set_link does nothing", "vnic.link-status-on", fake.Faults{Deaf: true}, "operstate after set_link off"},
		{"set_link is seen without the feature", "vnic.link-status-off", fake.Faults{Talkative: true}, "operstate after set_link off"},
		{"the feature is there", "vnic.link-status-off", fake.Faults{Flip: []int{16}}, "feature bit 16"},
		{"the wire has the old address", "vnic.mac-change", fake.Faults{KeepMAC: true}, "frames to the host from the new address"},
		{"the filter has the old address", "vnic.mac-change[nic=virtio]", fake.Faults{KeepFilter: true}, "query-rx-filter main-mac"},
		{"all is lost", "vnic.ping", fake.Faults{Loss: all}, "ping 0 bytes every 100ms"},
		{"one size is lost", "vnic.ping", fake.Faults{Loss: size(4192)}, "ping 4192 bytes"},
		{"fragments that are too many are answered", "vnic.ping-oversize", fake.Faults{Glued: true}, "65508 bytes in fragments"},
		{"an oversized request is answered", "vnic.ping-oversize", fake.Faults{Oversized: true}, "ping 65508 bytes"},
		{"the guest is dead afterwards", "vnic.ping-oversize", fake.Faults{Loss: size(56)}, "ping afterwards"},
		{"the kernel complains in the flood", "vnic.ping-flood",
			fake.Faults{Oops: "BUG: kernel NULL pointer dereference, address: 0000000000000000"}, "kernel log of a"},
		{"the guest is dead after the flood", "vnic.ping-flood", fake.Faults{Loss: size(56)}, "ping after a flood of 0"},
		{"the VLAN's frames carry no tag", "vnic.vlan", fake.Faults{Untagged: true}, "tag of what VLAN 10 sends"},
		{"the VLAN's link stays", "vnic.vlan", fake.Faults{KeepVLAN: true}, "eth0.10 is there after its removal"},
		{"nothing passes beside the VLAN", "vnic.vlan", fake.Faults{Loss: all}, "ping beside VLAN 10"},
		{"the largest MTU is refused", "vnic.mtu-max[nic=virtio]", fake.Faults{LowMTU: true}, "MTU 65535"},
		{"a larger MTU is taken", "vnic.mtu-max", fake.Faults{HighMTU: true}, "largest MTU of"},
		{"a full packet does not pass", "vnic.mtu-set", fake.Faults{Loss: size(1252)}, "packets of 1280 bytes"},
		{"the MTU is not in force", "vnic.mtu-set", fake.Faults{LongFrames: true}, "packets of 1501 bytes with an MTU of 1500"},
		{"the capture shows other sizes", "vnic.capture-size", fake.Faults{CutFrames: true}, "requests of 4096 bytes"},
		{"the capture shows nothing", "vnic.capture-size", fake.Faults{Loss: size(64)}, "replies of 64 bytes"},
		{"the file arrives changed", "vnic.udp-file", fake.Faults{Corrupt: true}, "guest to host"},
		{"a datagram is lost", "vnic.udp-file", fake.Faults{Lossy: true}, "guest to host: datagrams lost"},
		{"QEMU knows the old commands", "vnic.hotplug-legacy", fake.Faults{Fossil: true}, "(qemu) pci_add"},
		{"no card appears", "vnic.hotplug-qmp", fake.Faults{NoHotplug: true}, "link after device_add"},
		{"no card appears, typed", "vnic.hotplug-hmp", fake.Faults{NoHotplug: true}, "link after device_add"},
		{"the typed card carries nothing", "vnic.hotplug-hmp", fake.Faults{Loss: all}, "ping through the card"},
		{"the card carries nothing", "vnic.hotplug-qmp", fake.Faults{Loss: all}, "ping through the card"},
		{"a flag is missing", "vnic.offload-query", fake.Faults{NoFeature: "rx-gro"}, "generic-receive-offload"},
		{"the device has no tso", "vnic.offload-query[nic=virtio]", fake.Faults{Flip: []int{11}}, "feature bit 11"},
		{"the device has no checksums", "vnic.offload-query[nic=virtio]", fake.Faults{Flip: []int{0}}, "feature bit 0"},
		{"nothing can be switched", "vnic.offload-toggle", fake.Faults{KeepFeatures: true}, "tso switched"},
		{"a flag cannot be switched", "vnic.offload-toggle", fake.Faults{NoFeature: "tx-scatter-gather"}, "sg (absent)"},
		{"the guest is dead after the switches", "vnic.offload-toggle", fake.Faults{Loss: all}, "ping afterwards"},
		{"something is lost meanwhile", "vnic.promisc-toggle", fake.Faults{Loss: all}, "ping while the mode changes"},
		{"the mode stays", "vnic.promisc-toggle[nic=e1000]", fake.Faults{KeepPromisc: true}, "promiscuous flag off, afterwards"},
		{"nothing moves", "vnic.netperf-mix", fake.Faults{Stall: true}, "TCP_RR -r 32,1024"},
		{"the guest is dead after netperf", "vnic.netperf-mix", fake.Faults{Loss: usual}, "ping afterwards"},
		{"nothing arrives", "vnic.netperf-udp-sweep", fake.Faults{Stall: true}, "datagrams that arrive there"},
		{"the guest is dead after the sweep", "vnic.netperf-udp-sweep", fake.Faults{Loss: usual}, "ping afterwards"},
		{"a queue is missing", "vnic.multiqueue[vectors=9]", fake.Faults{FewQueues: true}, "interrupt of receive queue 3"},
		{"a channel is missing", "vnic.multiqueue[vectors=4]", fake.Faults{FewQueues: true}, "combined channels after ethtool -L"},
		{"all hints are the same", "vnic.multiqueue[vectors=9]", fake.Faults{OneHint: true}, "affinity hint of receive queue 1"},
		{"too few vectors are enough", "vnic.multiqueue[vectors=4]", fake.Faults{OwnIRQs: true}, "receive queues with an interrupt"},
		{"the queues carry nothing", "vnic.multiqueue", fake.Faults{Loss: usual}, "ping through the queues"},
		{"the migration fails", "vnic.migrate", fake.Faults{NoMove: true}, "query-migrate of a"},
		{"the guest boots anew", "vnic.migrate", fake.Faults{Reborn: true}, "boot of the guest afterwards"},
		{"the card is dead there", "vnic.migrate", fake.Faults{LoseMoved: true}, "ping afterwards"},
		{"the parameter is not taken", "vnic.zerocopy", fake.Faults{KeepParam: true}, "experimental_zcopytx after modprobe with 0"},
		{"one size gets no answer", "vnic.parallel-flood", fake.Faults{Loss: func(n int) bool { return n == 16110 }}, "flood of e1000 with 16110 bytes"},
		{"the cards are dead afterwards", "vnic.parallel-flood", fake.Faults{Loss: func(n int) bool { return n == 56 }}, "afterwards: ping rtl8139"},
		{"the kernel complains", "vnic.parallel-flood",
			fake.Faults{Oops: "BUG: kernel NULL pointer dereference, address: 0000000000000000"}, "kernel log of a"},
		{"the ROM does not boot", "vnic.pxe[romfile=shipped]", fake.Faults{Bricked: true}, "TFTP read requests"},
		{"something boots without a ROM", "vnic.pxe[romfile=empty]", fake.Faults{Haunted: true}, "requests of DHCP and TFTP"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // they wait for what does not come
			results, err := fake.Run(t.TempDir(), vnic.Cases(), tt.selector, tt.faults)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				fake.MustFail(t, r, tt.check)
			}
		})
	}
}

// TestNoEject shows that a card that stays is the guest's fault, though the
// instance ends at a wait and not at a check.
func TestNoEject(t *testing.T) {
	results, err := fake.Run(t.TempDir(), vnic.Cases(), "vnic.hotplug-*", fake.Faults{NoEject: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Case == "vnic.hotplug-legacy" {
			continue
		}
		if r.Result != report.Fail || !strings.Contains(r.Reason, "no DEVICE_DELETED event") {
			t.Errorf("%s: %s: %s", r.Instance, r.Result, r.Reason)
		}
	}
}

// TestNoNetperf shows that a server that is not reached is the fault of what is between.
func TestNoNetperf(t *testing.T) {
	for _, selector := range []string{"vnic.netperf-mix", "vnic.netperf-udp-sweep"} {
		results, err := fake.Run(t.TempDir(), vnic.Cases(), selector, fake.Faults{NoServer: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Result != report.Fail || !strings.Contains(r.Reason, "connection refused") {
				t.Errorf("%s: %s: %s", r.Instance, r.Result, r.Reason)
			}
		}
	}
}

// TestDeviationPrintsBoth shows that a relaxed criterion carries the seed's own.
func TestDeviationPrintsBoth(t *testing.T) {
	results, err := fake.Run(t.TempDir(), vnic.Cases(), "vnic.link-status-off", fake.Faults{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, c := range results[0].Checks {
		if strings.HasPrefix(c.Name, "operstate") {
			n++
			if c.Expected != "up" || !strings.HasPrefix(c.Seed, "unknown (deviation: ") {
				t.Errorf("%s: expected %q, seed %q", c.Name, c.Expected, c.Seed)
			}
		}
	}
	if n != 3 {
		t.Errorf("%d checks of operstate, want 3", n)
	}
}
