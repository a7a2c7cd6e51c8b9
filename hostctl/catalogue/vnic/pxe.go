package vnic

import (
	"fmt"
	"strings"

	"picolab/hostctl/catalogue"
)

var pxe = catalogue.Case{
	ID:    "vnic.pxe",
	Title: "A machine boots from its network card by the ROM it has, and not without",
	Seed: catalogue.Seed{Doc: doc, Item: "3",
		Criterion: "alternatives --config qemu-pxe-roms; tcpdump -l -n port 69 -i IFNAME; wait for 2 minutes and search tftp packet in " +
			"the tcpdump; if could find tftp in the tcpdump, testcase pass then fail (else fail, that is)",
		Note: "The document chooses between etherboot and gPXE; QEMU ships iPXE today, which is gPXE's successor. The other " +
			"choice here is no ROM at all: then nothing must be asked for, and the firmware must say that it cannot boot. An " +
			"empty ROM is what every other case has."},
	Where:    where,
	Topology: catalogue.NetGuest("$romfile").OnBackends(),
	Matrix:   roms(catalogue.NetCards("off").Backends()),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"wait": "120s", "time": "30s"},
		Quick: catalogue.Values{"time": "10s"},
	},
	Steps: []string{
		"choose the ROM: QEMU's own (iPXE), or none (romfile=)",
		"capture on the link, and serve DHCP and TFTP on it",
		"reset the machine and wait for at most 2 minutes",
		"with the ROM: a TFTP read request (UDP port 69, operation 1) must be in the capture",
		"without: nothing must be asked for, and the firmware says that there is no bootable device",
	},
	Run: func(t *catalogue.T) {
		const capture = "tftp.pcapng"
		b := t.Guest("a").BootFromNet(t.Duration("wait"), capture)
		t.Logf("after %.1f s the machine had asked for: %q", b.Took.Seconds(), b.Seen)
		if t.Axis("romfile") == catalogue.ROMShipped {
			t.Check("TFTP read requests in the capture", "at least 1", b.Reads, b.Reads > 0, capture)
			return
		}
		catalogue.Equal(t, "requests of DHCP and TFTP without a ROM", "none", orNone(b.Seen), capture)
		catalogue.Equal(t, "TFTP read requests in the capture", 0, b.Reads, capture)
		t.Check("the firmware without a ROM", catalogue.NoDevice, fmt.Sprintf("%q", b.Console), strings.Contains(b.Console, catalogue.NoDevice), "a.console.log")
	},
}

// roms adds the axis romfile.  The quick profile has one model, on our switch: the other suite's case boots all of the
// documents' on taps.
func roms(m catalogue.Matrix) catalogue.Matrix {
	m = m.Quickly("nic", "virtio").Quickly("backend", catalogue.Vale)
	m.Axes = append([]catalogue.Axis{{Name: "romfile", Values: []string{catalogue.ROMShipped, catalogue.ROMEmpty}}}, m.Axes...)
	return m
}

func orNone(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}
