package pings

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"picolab/guestagent/client"
	"picolab/hostctl/catalogue"
	"picolab/hostctl/lab"
)

// Oversize pings guest "a" with size, which is more than a packet can carry, at
// each of intervals, count times: all must be lost.  The sender's own kernel sees
// to that; so the same is then sent past it, in fragments: the guest must refuse
// to put them together.  Then it pings alive times at the first interval: the
// guest must have stayed well.
func Oversize(t *catalogue.T) {
	host, guest := t.Host(), t.Guest("a")
	for _, interval := range t.Durations("intervals") {
		stats := host.Ping(client.PingOptions{Target: guest.Addr(0), Size: t.Int("size"), Interval: interval, Count: t.Int("count")})
		t.AllLost(fmt.Sprintf("ping %d bytes every %v", t.Int("size"), interval), stats)
	}
	refused(t, guest)
	t.NoLoss("ping afterwards", host.Ping(client.PingOptions{Target: guest.Addr(0), Size: plain,
		Interval: t.Durations("intervals")[0], Count: t.Int("alive")}))
}

// refused sends an echo request of size in fragments until the guest has counted
// one that it could not put together: a slow guest may lose a fragment.
func refused(t *catalogue.T, guest *catalogue.Node) {
	const file = "replies.pcapng"
	host, segment := t.Host(), t.Segment(catalogue.LAN)
	before, id := reassemblyFailures(guest), uint16(0)
	stop := host.Record(segment.Bridge, "icmp and src host "+guest.Addr(0).String(), file)
	ok := t.Poll(lab.WaitLink, func() bool {
		id++
		message := echo(t.Int("size"), id)
		host.Inject(segment.Bridge, fmt.Sprintf("oversized-%d.pcapng", id),
			fragments(ethernet(guest.Card(0).MAC, host.LinkNamed(segment.Bridge).Mac), segment.Host.Addr(), guest.Addr(0), id, message))
		return reassemblyFailures(guest) > before
	})
	stop()
	name := fmt.Sprintf("%d bytes in fragments", t.Int("size"))
	t.Check(name, "the guest does not put them together", fmt.Sprintf("%d of %d counted as failures", reassemblyFailures(guest)-before, id), ok, "/proc/net/snmp")
	catalogue.Equal(t, name+": replies", 0, len(t.Frames(file)), file)
}

// reassemblyFailures is what the guest's kernel counts as ReasmFails (RFC 1213).
func reassemblyFailures(guest *catalogue.Node) int {
	var names []string
	for line := range strings.Lines(guest.ReadFile("/proc/net/snmp")) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "Ip:" {
			continue
		}
		for i, name := range names {
			if n, err := strconv.Atoi(words[i]); name == "ReasmFails" && err == nil {
				return n
			}
		}
		names = words
	}
	return 0
}

// ethernet is the header of a frame that carries IPv4.
func ethernet(to, from string) []byte {
	dst, _ := net.ParseMAC(to) // addresses that the lab gave
	src, _ := net.ParseMAC(from)
	return append(append(dst, src...), 0x08, 0x00)
}

// echo is an ICMP echo request (RFC 792) with a payload of a size.
func echo(size int, id uint16) []byte {
	b := make([]byte, 8+size)
	b[0] = 8
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

// fragments are the frames that carry an ICMP message (RFC 791), whatever its
// length, with an MTU of 1500.
func fragments(ethernet []byte, from, to netip.Addr, id uint16, message []byte) [][]byte {
	const header, room, more = 20, 1480, 0x2000
	var all [][]byte
	for at := 0; at < len(message); at += room {
		part, flags := message[at:], uint16(0)
		if len(part) > room {
			part, flags = part[:room], more
		}
		ip := make([]byte, header)
		ip[0], ip[8], ip[9] = 0x45, 64, 1 // version and length, time to live, ICMP
		binary.BigEndian.PutUint16(ip[2:], uint16(header+len(part)))
		binary.BigEndian.PutUint16(ip[4:], id)
		binary.BigEndian.PutUint16(ip[6:], uint16(at/8)|flags)
		copy(ip[12:], from.AsSlice())
		copy(ip[16:], to.AsSlice())
		binary.BigEndian.PutUint16(ip[10:], checksum(ip))
		frame := append(append(append([]byte(nil), ethernet...), ip...), part...)
		all = append(all, frame)
	}
	return all
}

// checksum is the Internet's (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum>>16 > 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
