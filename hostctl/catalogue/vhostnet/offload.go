package vhostnet

import (
	"fmt"
	"net/netip"

	"picolab/hostctl/catalogue"
)

// etherHeader is what Ethernet adds to an MTU.
const etherHeader = 14

// offloadParams are those of the document for both of its offloads.
func offloadParams() catalogue.Params {
	return catalogue.Params{Full: catalogue.Values{"bytes": "10MiB", "port": "5334", "mtu": "1500", "time": "2s"}}
}

// offloadSteps are the document's steps with one flag on and one off.
func offloadSteps(on, off, criterion string) []string {
	return []string{
		"ethtool -K LINK " + off + " off, " + on + " on in the guest; ethtool -k says that they are so",
		"capture what leaves the guest for TCP port 5334, on its link",
		"send 10 MiB of random data from the guest to port 5334 of the host; what arrived must be what was sent",
		criterion,
	}
}

var offloadTSO = catalogue.Case{
	ID:    "vhostnet.offload-tso",
	Title: "With TCP segmentation offload the guest hands over segments larger than the MTU",
	Seed: catalogue.Seed{Doc: doc, Item: "8",
		Criterion: "gso off, tso on; check if there exists some packet larger than MTU; compute md5sum on host and the virtual " +
			"machine, and check if they are same",
		Note: "The driver's own counters must agree with the capture: they count a segment of virtio and rtl8139 as one " +
			"packet, and the other drivers count what their card makes of it."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines(),
	Needs:    needs,
	Params:   offloadParams(),
	Steps:    offloadSteps("tso", "gso", "the capture has a frame larger than the MTU"),
	Run: func(t *catalogue.T) {
		full, sent := t.Int("mtu")+etherHeader, send(t, "tso", "gso")
		t.Check("largest frame captured", fmt.Sprintf("more than %d bytes", full), sent.largest, sent.largest > full, sent.file)
		if nic := t.Axis("nic"); nic == "virtio" || nic == "rtl8139" {
			t.Check("bytes in each packet, by the driver's counters", fmt.Sprintf("more than %d", full), sent.each, sent.each > full, "")
		}
	},
}

var offloadGSO = catalogue.Case{
	ID:    "vhostnet.offload-gso",
	Title: "With generic segmentation offload alone the guest hands over full frames",
	Seed: catalogue.Seed{Doc: doc, Item: "8",
		Criterion: "if you check the function of gso, just disable tso and enable gso; check if there exists some packet larger than MTU; " +
			"compute md5sum on host and the virtual machine, and check if they are same"},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines(),
	Needs:    needs,
	Params:   offloadParams(),
	Steps:    offloadSteps("gso", "tso", "the capture has no frame larger than the MTU and its Ethernet header"),
	Deviations: []catalogue.Deviant{{
		Check: "largest frame captured", Seed: "larger than the MTU", Modern: "at most the MTU and the Ethernet header",
		Reason: "generic segmentation happens in the kernel's stack before a frame comes to where captures are made, and to the card",
	}},
	Run: func(t *catalogue.T) {
		full, sent := t.Int("mtu")+etherHeader, send(t, "gso", "tso")
		t.Deviate("largest frame captured", fmt.Sprintf("%d bytes", sent.largest), sent.largest > 0 && sent.largest <= full, sent.file)
		t.Check("bytes in each packet, by the driver's counters", fmt.Sprintf("at most %d", full), sent.each, sent.each <= full, "")
	},
}

// segments is what left the guest.
type segments struct {
	largest int // frame of the capture, in bytes
	each    int // bytes a packet, by the link's counters
	file    string
}

// send sends the data with one flag on and one off.
func send(t *catalogue.T, on, off string) segments {
	host, guest := t.Host(), t.Guest("a")
	link := guest.Link(0).Name
	guest.SetOffload(link, off, false)
	state := guest.SetOffload(link, on, true)
	catalogue.Equal(t, on+" by ethtool", true, state.Of(on).On, state.Of(on).String())
	catalogue.Equal(t, off+" by ethtool", false, state.Of(off).On, state.Of(off).String())
	catalogue.Equal(t, "MTU of the guest's card", t.Int("mtu"), int(guest.LinkNamed(link).Mtu), link)

	file := on + ".pcapng"
	before := guest.LinkStats(link)
	stop := guest.RecordHeads(link, "tcp and dst port "+t.Param("port"), file)
	to := netip.AddrPortFrom(t.Segment(catalogue.LAN).Host.Addr(), uint16(t.Int("port")))
	t.TransferTo("guest to host", guest, host, to, t.Bytes("bytes"))
	captured, after := stop(), guest.LinkStats(link)
	packets, bytes := after["tx_packets"]-before["tx_packets"], after["tx_bytes"]-before["tx_bytes"]
	t.Logf("%s on, %s off: %d frames captured, %d dropped, the largest of %d bytes; the driver counts %d packets, %d bytes",
		on, off, captured.Packets, captured.Dropped, captured.Largest, packets, bytes)
	return segments{largest: int(captured.Largest), each: int(bytes / max(packets, 1)), file: file}
}
