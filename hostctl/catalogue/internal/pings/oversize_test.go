package pings

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"picolab/guestagent/load/pcapng"
)

// TestChecksum has RFC 1071's example, and an odd length.
func TestChecksum(t *testing.T) {
	for text, want := range map[string]uint16{"0001f203f4f5f6f7": ^uint16(0xddf2), "0001f2": ^uint16(0xf201), "": 0xffff} {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := checksum(b); got != want {
			t.Errorf("%s: %#x, want %#x", text, got, want)
		}
	}
}

// TestFragments has tcpdump(8) read an oversized request: whole headers, checksums that are right, and an end past what a
// packet may have.
func TestFragments(t *testing.T) {
	frames := fragments(ethernet("52:54:00:00:00:02", "52:54:00:00:00:01"), netip.MustParseAddr("10.77.0.1"), netip.MustParseAddr("10.77.0.2"), 7, echo(65508, 7))
	last := frames[len(frames)-1]
	if len(frames) != 45 || len(last) != 14+20+65516-44*1480 {
		t.Fatalf("%d frames, the last of %d bytes", len(frames), len(last))
	}
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Skip("tcpdump(8) not installed")
	}
	var b bytes.Buffer
	w, err := pcapng.NewWriter(&b, "lan", 0)
	for _, f := range frames {
		if err == nil {
			err = w.Write(pcapng.Packet{Data: f})
		}
	}
	if err != nil || w.Close(0, 0) != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "f.pcapng")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tcpdump, "-vnr", file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if text := string(out); strings.Contains(text, "bad cksum") || !strings.Contains(text, "offset 65120") || strings.Count(text, "10.77.0.1 > 10.77.0.2") != 45 {
		t.Errorf("tcpdump reads\n%s", text)
	}
}
