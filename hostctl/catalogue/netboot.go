package catalogue

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"strings"
	"time"

	"picolab/guestagent/load/pcapng"
	"picolab/hostctl/lab"
	"picolab/hostctl/report"
)

// NetGuest is guest "a" without an image: its firmware boots what it finds on the link [LAN], by the one card that it has.
// The ROM is as in [NIC].
func NetGuest(rom string) Topology {
	card := NIC{Model: "$nic", Link: LAN, Vhost: "$vhost", ROM: rom}
	return Topology{Links: []Link{{Name: LAN}}, Guests: []Guest{{Name: "a", Boot: lab.BootNet, NICs: []NIC{card}}}}
}

// NetCards is the matrix of [NetGuest]: the models that QEMU ships a boot ROM for.
func NetCards(vhostQuick ...string) Matrix {
	m := Cards(vhostQuick...)
	m.Exclusions = append(m.Exclusions, Exclusion{When: []Match{{Axis: "nic", In: []string{"igb"}}},
		Reason: "QEMU ships no boot ROM for igb, so nothing can be booted by it"})
	return m
}

// BootFile is what is served to what boots from the network: a script for iPXE (https://ipxe.org/scripting) that says that
// it runs.
const (
	BootFile   = "lab.ipxe"
	bootScript = "#!ipxe\necho " + BootSays + "\n"
	BootSays   = "picolab: booted from the network"
)

// NoDevice is how SeaBIOS ends when there is nothing left to boot from.
const NoDevice = "No bootable device"

// NetBoot is what came of a boot from the network.
type NetBoot struct {
	Seen    []string // what the guest asked the host for
	Reads   int      // TFTP read requests among the captured frames
	Console string   // what the firmware showed
	Took    time.Duration
}

// BootFromNet resets a guest that has no image, with a DHCP and TFTP server on its link, and records what goes to port 69
// until the file has arrived and was run, the firmware has given up, or the time is over.  The capture is the evidence file.
func (n *Node) BootFromNet(limit time.Duration, capture string) NetBoot {
	server, err := n.t.lab.Netboot(LAN, BootFile, []byte(bootScript))
	if err != nil {
		n.t.Errorf("host: %v", err)
	}
	n.t.Cleanup(func() { server.Close() })
	n.t.Host().did("dnsmasq --port=0 --dhcp-range=... --dhcp-boot=%s --enable-tftp # on %s", BootFile, n.t.Segment(LAN).Bridge)
	stop := n.t.recordLink(LAN, capture)
	console := n.console()
	start := time.Now()
	for _, command := range []string{"stop", "system_reset", "cont"} { // SeaBIOS hangs when it is reset as it begins
		n.QMP(command, nil, nil)
	}
	var b NetBoot
	n.t.PollFor(max(limit, n.t.Timeout(lab.WaitFirmware)), func() bool {
		b.Console = console()
		return strings.Contains(b.Console, NoDevice) || strings.Contains(b.Console, BootSays)
	})
	b.Took = time.Since(start)
	stop()
	b.Seen = server.Seen()
	b.Reads = tftpReads(n.t.Frames(capture), BootFile)
	return b
}

// tftpReads counts the read requests for a file among frames: UDP to port 69 with operation 1 (RFC 1350, section 5).
func tftpReads(frames []pcapng.Packet, file string) int {
	const port, read = 69, 1
	request := append(binary.BigEndian.AppendUint16(nil, read), file+"\x00octet\x00"...)
	n := 0
	for _, p := range frames {
		if to, data := datagram(p.Data); to == port && bytes.HasPrefix(data, request) {
			n++
		}
	}
	return n
}

// datagram returns the port and the payload of a UDP datagram in an Ethernet frame with IPv4, port 0 of other frames.
func datagram(frame []byte) (port uint16, payload []byte) {
	const ethernet, minIP, udp, kind, protocol = 14, 20, 8, 12, 23
	if len(frame) < ethernet+minIP+udp || binary.BigEndian.Uint16(frame[kind:]) != 0x0800 || frame[protocol] != 17 {
		return 0, nil
	}
	at := ethernet + int(frame[ethernet]&15)*4
	if len(frame) < at+udp {
		return 0, nil
	}
	return binary.BigEndian.Uint16(frame[at+2:]), frame[at+udp:]
}

// console returns what the guest's console shows from now on, each time all of it.
func (n *Node) console() func() string {
	path := n.machine.Logs()["console.log"]
	info, err := os.Stat(path)
	if err != nil {
		n.t.Errorf("%s: console: %v", n.name, err)
	}
	return func() string {
		f, err := os.Open(path)
		if err != nil {
			n.t.Errorf("%s: console: %v", n.name, err)
		}
		defer f.Close()
		text, err := io.ReadAll(io.NewSectionReader(f, info.Size(), maxConsole))
		if err != nil {
			n.t.Errorf("%s: console: %v", n.name, err)
		}
		return string(text)
	}
}

// maxConsole is more than a firmware says, in bytes.
const maxConsole = 1 << 20

// recordLink captures what passes a link into an evidence file of the instance.
func (t *T) recordLink(link, file string) (stop func()) {
	f := t.create(file)
	end, err := t.lab.Record(t.Context(), link, f, lab.RecordOptions{})
	if err != nil {
		t.Errorf("host: %v", err)
	}
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		if _, err := end(t.Context()); err != nil {
			t.note(report.Error, "host: "+err.Error())
		}
		f.Close()
	}
	t.Cleanup(stop)
	return stop
}
