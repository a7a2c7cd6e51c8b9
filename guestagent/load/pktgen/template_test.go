package pktgen

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// config is a valid one of a function.
func config(t testing.TB, args ...string) *Config {
	t.Helper()
	o, err := ParseOptions(append([]string{"-i", "test"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	return &o.Config
}

// TestChecksumsHold makes frames of many kinds and lengths and checks both checksums of each.
func TestChecksumsHold(t *testing.T) {
	for _, args := range [][]string{
		{}, {"-z"}, {"-Z"}, {"-z", "-Z"}, {"-l", "61"}, {"-l", "1514,60"}, {"-s", "1.2.3.4:1-250.3.4.5:65535"}, {"-f", "txseq"},
		{"-f", "txseq", "-l", "1514,54", "-z"}, {"-6"}, {"-6", "-z", "-Z"}, {"-6", "-l", "1514,62"}, {"-6", "-f", "txseq", "-l", "75"},
		{"-6", "-s", "0@[fd00::1]:7-0@[fdff::1]:9"}, {"-l", "42"}, {"-6", "-l", "62"},
	} {
		t.Run(fmt.Sprint(args), func(t *testing.T) {
			c := config(t, append([]string{"-f", "tx"}, args...)...)
			g := newGenerator(c, 0)
			buf := make([]byte, c.Size)
			for range 3000 {
				f := buf[:g.next(buf)]
				d, ok := parse(f)
				if !ok || !d.sound() || d.v6 != c.Headers.V6 {
					t.Fatalf("frame %x", f)
				}
				if !d.v6 && fold(sum16(f[ethernetLen:ethernetLen+ipv4Len], 0)) != 0xffff {
					t.Fatalf("header checksum of %x", f)
				}
			}
		})
	}
}

func TestZeroChecksumIsNeverSent(t *testing.T) {
	c := config(t, "-6", "-z")
	g := newGenerator(c, 0)
	buf := make([]byte, c.Size)
	for range 300000 {
		g.next(buf)
		if binary.BigEndian.Uint16(buf[ethernetLen+ipv6Len+6:]) == 0 {
			t.Fatal("a UDP checksum of 0 over IPv6")
		}
	}
}

func TestShortFramesAreCut(t *testing.T) {
	c := config(t, "-l", "16", "-f", "txseq")
	g := newGenerator(c, 0)
	buf := make([]byte, 100)
	for range 3 {
		if n := g.next(buf); n != 16 || buf[12] != 8 || buf[14] != 0x45 {
			t.Fatalf("%d bytes: %x", n, buf[:n])
		}
	}
}

func TestRandomSizesCoverTheirRange(t *testing.T) {
	c := config(t, "-l", "64", "-l", "60")
	g := newGenerator(c, 0)
	seen := map[int]int{}
	buf := make([]byte, 100)
	for range 4000 {
		seen[g.next(buf)]++
	}
	for size := 60; size < 64; size++ {
		if seen[size] < 800 {
			t.Errorf("%d of %d bytes", seen[size], size)
		}
	}
	if len(seen) != 4 {
		t.Errorf("sizes %v", seen)
	}
}

// TestFrameOfTheOriginal compares with a frame that netmap's pkt-gen makes from its defaults: a UDP datagram of 26 bytes
// whose payload is its text.
func TestFrameOfTheOriginal(t *testing.T) {
	c := config(t, "-S", "0:1:2:3:4:5")
	f := newTemplate(&c.Headers, 60).frame
	want := "ffffffffffff000102030405" + "0800" + "4510002e0000400040" + "11" + "26ad" + "0a000001" + "0a010001" + "04d204d2001a15d2" +
		"6e65746d617020706b742d67656e20444900"
	if got := fmt.Sprintf("%x", f); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestNextDoesNotAllocate(t *testing.T) {
	for _, args := range [][]string{{}, {"-z", "-Z"}, {"-f", "txseq"}, {"-6", "-f", "txseq"}} {
		c := config(t, append([]string{"-f", "tx"}, args...)...)
		g := newGenerator(c, 0)
		buf := make([]byte, c.Size)
		g.next(buf)
		if n := testing.AllocsPerRun(1000, func() { g.next(buf) }); n != 0 {
			t.Errorf("%v: %v allocations a frame", args, n)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, args := range [][]string{{}, {"-6"}, {"-f", "txseq"}, {"-l", "1514"}} {
		c := config(f, args...)
		buf := make([]byte, c.Size)
		f.Add(buf[:newGenerator(c, 0).next(buf)])
	}
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x81\x00\x00\x01\x08\x00"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		d, ok := parse(frame)
		if ok && (len(d.udp) < udpLen || len(d.udp) > len(frame) || len(d.src) != len(d.dst)) {
			t.Errorf("datagram of %d bytes in %d", len(d.udp), len(frame))
		}
		readNumber(frame)
		swapped := append([]byte{}, frame...)
		SwapAddresses(swapped)
		SwapAddresses(swapped)
		if string(swapped) != string(frame) {
			t.Errorf("swapping twice changed %x to %x", frame, swapped)
		}
		var tr tracker
		tr.frame(frame)
	})
}
