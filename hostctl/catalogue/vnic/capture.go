package vnic

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"picolab/guestagent/client"
	"picolab/hostctl/catalogue"
)

var captureSize = catalogue.Case{
	ID:    "vnic.capture-size",
	Title: "A capture in the guest shows packets in the sizes they were sent in",
	Seed: catalogue.Seed{Doc: doc, Item: "16",
		Criterion: "capture packet size by tcpdump: tcpdump -vvv -i eth0",
		Note: "The document says what to look at and not for what. Here the host sends echo requests of known sizes; those " +
			"that do not fit the MTU come in fragments. What counts is the length in each packet's own header, as tcpdump -vvv " +
			"prints it: a frame below 60 bytes is padded on some cards."},
	Where:    where,
	Topology: catalogue.OneGuest().OnBackends().OnMachines(),
	Matrix:   catalogue.Cards("off").Backends().Machines(),
	Needs:    needs,
	Params: catalogue.Params{
		Full:  catalogue.Values{"sizes": "0 1 48 64 512 1440 1472 1500 4096 65507", "interval": "100ms", "count": "10", "time": "15s"},
		Quick: catalogue.Values{"sizes": "0 64 1472 1500 4096", "interval": "20ms", "count": "3", "time": "1s"},
	},
	Steps: []string{
		"capture on the guest's card: tcpdump -vvv -i LINK icmp",
		"for each size: ping -c COUNT -s SIZE from the host: the loss must be zero",
		"the capture has every request and every reply once, in packets of the right sizes",
	},
	Run: func(t *catalogue.T) {
		guest := t.Guest("a")
		for _, size := range t.Ints("sizes") {
			file := fmt.Sprintf("size-%d.pcapng", size)
			stop := guest.Record(guest.Link(0).Name, "icmp", file)
			t.NoLoss(fmt.Sprintf("ping %d bytes", size), t.Host().Ping(client.PingOptions{Target: guest.Addr(0), Size: size,
				Interval: t.Duration("interval"), Count: t.Int("count")}))
			stats := stop()
			want := fmt.Sprintf("%d times %v", t.Int("count"), packets(size))
			from, to := lengths(t, file, guest.Addr(0))
			evidence := fmt.Sprintf("%s: %d frames, the largest of %d bytes, %d dropped", file, stats.Packets, stats.Largest, stats.Dropped)
			catalogue.Equal(t, fmt.Sprintf("requests of %d bytes", size), want, tally(to, packets(size)), evidence)
			catalogue.Equal(t, fmt.Sprintf("replies of %d bytes", size), want, tally(from, packets(size)), evidence)
		}
	},
}

// packets returns the lengths of the IPv4 packets that an echo message of a size
// makes with an MTU of 1500: fragments but the last carry a multiple of eight.
func packets(size int) []int {
	const ipHeader, mtu = 20, 1500
	var all []int
	rest := size + headers - ipHeader
	for room := (mtu - ipHeader) &^ 7; rest > mtu-ipHeader; rest -= room {
		all = append(all, ipHeader+room)
	}
	return append(all, ipHeader+rest)
}

// lengths returns the lengths of a capture's packets from and to an address.
func lengths(t *catalogue.T, file string, addr netip.Addr) (from, to []int) {
	const header = 14
	ip := addr.AsSlice()
	for _, f := range t.Frames(file) {
		if len(f.Data) < header+20 {
			continue
		}
		p := f.Data[header:]
		n := int(binary.BigEndian.Uint16(p[2:]))
		switch {
		case slices.Equal(p[12:16], ip):
			from = append(from, n)
		case slices.Equal(p[16:20], ip):
			to = append(to, n)
		}
	}
	return from, to
}

// tally says how many times lengths are the series, or what they are.
func tally(lengths, series []int) string {
	for i, n := range lengths {
		if n != series[i%len(series)] {
			return fmt.Sprintf("%v as number %d of %d", n, i+1, len(lengths))
		}
	}
	if len(lengths)%len(series) != 0 {
		return fmt.Sprintf("%d packets in place of a multiple of %d", len(lengths), len(series))
	}
	return fmt.Sprintf("%d times %v", len(lengths)/len(series), series)
}
