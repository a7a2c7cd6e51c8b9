package vhostnet

import (
	"fmt"
	"strings"

	"picolab/hostctl/catalogue"
)

var pxe = catalogue.Case{
	ID:    "vhostnet.pxe",
	Title: "A machine without a disk boots from its network card",
	Seed: catalogue.Seed{Doc: doc, Item: "5",
		Criterion: "tcpdump -l -n port 69 -i IFNAME > tcpdump; wait for 2 minutes and search tftp packet in the tcpdump; if could find " +
			"tftp in the tcpdump, testcase pass then fail (else fail, that is)",
		Note: "The lab has a DHCP and TFTP server of its own. A packet of TFTP is told by UDP port 69 and the operation, not by a " +
			"word that tcpdump prints. Beyond the document, the file must arrive: it is a script for iPXE, and the firmware's " +
			"console shows that it ran. The wait ends early."},
	Where:    where,
	Topology: catalogue.NetGuest(catalogue.ROMShipped).OnBackends(),
	Matrix:   catalogue.NetCards("off").Backends().Quickly("backend", catalogue.Tap),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"wait": "120s", "time": "30s"},
		Quick: catalogue.Values{"time": "15s"},
	},
	Steps: []string{
		"capture on the link, and serve DHCP and TFTP on it",
		"reset the machine: its firmware boots from the card by QEMU's own ROM",
		"wait for at most 2 minutes",
		"search the capture for a TFTP read request (UDP port 69, operation 1): there must be one",
		"the firmware's console must show what the served script says",
	},
	Run: func(t *catalogue.T) {
		const capture = "tftp.pcapng"
		b := t.Guest("a").BootFromNet(t.Duration("wait"), capture)
		t.Logf("after %.1f s the machine had asked for: %s", b.Took.Seconds(), strings.Join(b.Seen, ", "))
		t.Check("TFTP read requests in the capture", "at least 1", b.Reads, b.Reads > 0, capture)
		t.Check("the served script", "ran: "+catalogue.BootSays, fmt.Sprintf("%q", tailOf(b.Console)),
			strings.Contains(b.Console, catalogue.BootSays), "a.console.log")
	},
}

// tailOf is the end of what a firmware showed, for a check.
func tailOf(console string) string {
	const most = 300
	return console[max(0, len(console)-most):]
}
