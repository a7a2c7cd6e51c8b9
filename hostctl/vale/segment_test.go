package vale

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// packet describes a TCP or UDP packet of a test.
type packet struct {
	name    string
	v6, udp bool
	vlan    bool
	options int // bytes of TCP options, or of IPv4 options for UDP
	payload int
	size    int // of segments, 0 for none
	ecn     bool
}

// build makes the frame as a guest would hand it over: the sum of the pseudo header in the checksum.
func (p packet) build() Frame {
	b := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}
	if p.vlan {
		b = append(b, 0x81, 0, 0, 7)
	}
	l4 := 8
	protocol := byte(17)
	if !p.udp {
		l4, protocol = 20+p.options, 6
	}
	total := l4 + p.payload
	if p.v6 {
		b = append(b, 0x86, 0xdd, 0x60, 0, 0, 0, byte(total>>8), byte(total), protocol, 64)
		b = append(b, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2)
	} else {
		n := 20 + total
		b = append(b, 8, 0, 0x45, 0, byte(n>>8), byte(n), 0x12, 0x34, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2)
		ip := b[len(b)-20:]
		binary.BigEndian.PutUint16(ip[10:], ^slowSum(ip))
	}
	start, offset := len(b), 6
	b = append(b, 0x04, 0xd2, 0, 80)
	if p.udp {
		b = append(b, byte(total>>8), byte(total), 0, 0)
	} else {
		offset = 16
		flags := byte(0x19) // ACK, PSH, FIN
		if p.ecn {
			flags |= 0x80
		}
		b = append(b, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, byte(l4/4)<<4, flags, 0x10, 0, 0, 0, 0, 0)
		b = append(b, bytes.Repeat([]byte{1}, p.options)...)
	}
	addresses := b[start-8 : start]
	if p.v6 {
		addresses = b[start-32 : start]
	}
	binary.BigEndian.PutUint16(b[start+offset:], slowSum(append(bytes.Clone(addresses), 0, protocol, byte(total>>8), byte(total))))
	b = append(b, noise[:p.payload]...)
	h := Header{Flags: NeedsCsum, CsumStart: uint16(start), CsumOffset: uint16(offset)}
	if p.size > 0 {
		h.GSOSize, h.GSOType = uint16(p.size), GSOTCPv4
		switch {
		case p.udp:
			h.GSOType = GSOUDP
		case p.v6:
			h.GSOType = GSOTCPv6
		}
		if p.ecn {
			h.GSOType |= GSOECN
		}
	}
	return Frame{h, b}
}

// slowSum is RFC 1071 word by word.
func slowSum(b []byte) uint16 {
	total := uint32(0)
	for i := 0; i+1 < len(b); i += 2 {
		total += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 == 1 {
		total += uint32(b[len(b)-1]) << 8
	}
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return uint16(total)
}

var packets = []packet{
	{name: "tcp4 checksum", payload: 1000},
	{name: "tcp6 checksum, odd", v6: true, payload: 999},
	{name: "udp4 checksum", udp: true, payload: 1},
	{name: "udp6 checksum, empty", udp: true, v6: true},
	{name: "tcp4", payload: 10000, size: 1448, options: 12},
	{name: "tcp4 in a VLAN", payload: 5000, size: 1000, vlan: true},
	{name: "tcp6", v6: true, payload: 64000, size: 1428, options: 40},
	{name: "tcp4 with ECN", payload: 3000, size: 1448, ecn: true},
	{name: "tcp4, one whole segment", payload: 1448, size: 1448},
	{name: "udp4", udp: true, payload: 9000, size: 1400},
	{name: "udp6 in a VLAN", udp: true, v6: true, vlan: true, payload: 4001, size: 1000},
	{name: "many small ones", payload: 60000, size: 50},
}

// finished returns what becomes of a packet for a port that takes nothing.
func finished(t testing.TB, f Frame) (out [][]byte, count Counters) {
	t.Helper()
	s, _ := stepped(t, 0, 0)
	from, to := &script{in: []Frame{f}}, &script{room: 1 << 20}
	for name, p := range map[string]*script{"from": from, "to": to} {
		if err := s.Attach(name, p); err != nil {
			t.Fatal(err)
		}
	}
	s.round()
	return to.got, s.member("to").count
}

// TestFinish has the switch finish packets, puts the payload together again, and has tcpdump judge the checksums.
func TestFinish(t *testing.T) {
	var all [][]byte
	for _, p := range packets {
		f := p.build()
		before := bytes.Clone(f.Data)
		got, count := finished(t, f)
		if !bytes.Equal(f.Data, before) {
			t.Errorf("%s: the lender's memory was changed", p.name)
		}
		want := 1
		if p.size > 0 {
			want = max(1, (p.payload+p.size-1)/p.size)
		}
		if len(got) != want || int(count.ToSegments+count.ToChecksums) != want || int(count.ToFrames) != want {
			t.Errorf("%s: %d frames, want %d; %+v", p.name, len(got), want, count)
		}
		header := len(f.Data) - p.payload
		var payload []byte
		for _, g := range got {
			payload = append(payload, g[header:]...)
		}
		if !bytes.Equal(payload, noise[:p.payload]) {
			t.Errorf("%s: %d bytes of payload, which are not those that were sent", p.name, len(payload))
		}
		all = append(all, got...)
	}
	judge(t, all)
}

// judge has tcpdump look at frames: all checksums are right, and the flags are where they belong.
func judge(t *testing.T, frames [][]byte) {
	t.Helper()
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("tcpdump not installed")
	}
	path := filepath.Join(t.TempDir(), "frames.pcap")
	pcap := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0}
	for _, f := range frames {
		pcap = append(pcap, 0, 0, 0, 0, 0, 0, 0, 0)
		pcap = binary.LittleEndian.AppendUint32(pcap, uint32(len(f)))
		pcap = append(binary.LittleEndian.AppendUint32(pcap, uint32(len(f))), f...)
	}
	if err := os.WriteFile(path, pcap, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "tcpdump", "-r", path, "-nvv", "-#").Output()
	if err != nil {
		t.Fatal(err)
	}
	text := string(out)
	ok := strings.Count(text, "(correct)") + strings.Count(text, "sum ok")
	if ok != len(frames) || strings.Contains(text, "incorrect") || strings.Contains(text, "bad") || strings.Contains(text, "truncated") {
		t.Errorf("tcpdump is happy with %d of %d frames:\n%.3000s", ok, len(frames), text)
	}
}

// TestFlags: FIN and PSH are the last segment's, CWR the first one's; sequence numbers wrap; IPv4 identifications count.
func TestFlags(t *testing.T) {
	got, _ := finished(t, packet{payload: 3000, size: 1000, ecn: true}.build())
	for i, want := range []byte{0x90, 0x10, 0x19} {
		seq, id := binary.BigEndian.Uint32(got[i][38:]), binary.BigEndian.Uint16(got[i][18:])
		if flags := got[i][47]; flags != want || seq != uint32(0xffffff00+int64(i)*1000) || id != uint16(0x1234+i) {
			t.Errorf("segment %d: flags %#x, sequence %#x, id %#x", i, flags, seq, id)
		}
	}
}

// TestTakes: what the port takes goes through as it is.
func TestTakes(t *testing.T) {
	for _, p := range packets {
		s, _ := stepped(t, 0, 0)
		f := p.build()
		need, ok := f.Header.needs(len(f.Data))
		to := &script{room: 9, takes: need}
		_ = s.Attach("to", to)
		_ = s.Attach("from", &script{in: []Frame{f}})
		s.round()
		if !ok || len(to.got) != 1 || !bytes.Equal(to.got[0], f.Data) {
			t.Errorf("%s: %d frames", p.name, len(to.got))
		}
	}
}

// TestNonsense: headers that no packet can have are dropped, and said to be.
func TestNonsense(t *testing.T) {
	good := packet{payload: 3000, size: 1000}.build()
	spoil := func(fn func(f *Frame)) Frame {
		f := Frame{good.Header, bytes.Clone(good.Data)}
		fn(&f)
		return f
	}
	for name, f := range map[string]Frame{
		"start beyond the end (CVE-2024-11614)": spoil(func(f *Frame) { f.Header.CsumStart = 65000 }),
		"offset beyond the end":                 spoil(func(f *Frame) { f.Header.CsumOffset = 65000 }),
		"start in the Ethernet header":          spoil(func(f *Frame) { f.Header.CsumStart = 6 }),
		"segments of 0":                         spoil(func(f *Frame) { f.Header.GSOSize = 0 }),
		"segments without checksum":             spoil(func(f *Frame) { f.Header.Flags = 0 }),
		"unknown segmentation":                  spoil(func(f *Frame) { f.Header.GSOType = 77 }),
		"65,536 segments":                       spoil(func(f *Frame) { f.Header.GSOSize = 1 }),
		"other protocol":                        spoil(func(f *Frame) { f.Data[12] = 0x88 }),
		"wrong version":                         spoil(func(f *Frame) { f.Header.GSOType = GSOTCPv6 }),
		"start in the IP header":                spoil(func(f *Frame) { f.Header.CsumStart = 20 }),
		"wrong offset":                          spoil(func(f *Frame) { f.Header.CsumOffset = 6 }),
		"TCP header beyond the end":             spoil(func(f *Frame) { f.Data = f.Data[:60]; f.Data[46] = 0xf0 }),
		"TCP header of 0":                       spoil(func(f *Frame) { f.Data[46] = 0 }),
	} {
		got, count := finished(t, f)
		if len(got) != 0 || count.ToFrames != 0 {
			t.Errorf("%s: %d frames", name, len(got))
		}
	}
}

// FuzzFinish: whatever the header and the packet say, the switch lives, and makes frames no longer than the one it got.
func FuzzFinish(f *testing.F) {
	for _, p := range packets {
		fr := p.build()
		f.Add(fr.Header.raw()[:], fr.Data[:min(len(fr.Data), 3000)])
	}
	f.Fuzz(func(t *testing.T, header, data []byte) {
		fr := Frame{Data: data}
		copy(fr.Header.raw()[:], header)
		got, _ := finished(t, fr)
		for _, g := range got {
			if len(g) > len(data) || len(g) < etherSize {
				t.Errorf("%d bytes of %d", len(g), len(data))
			}
		}
	})
}
