package catalogue

import (
	"strings"
	"testing"

	"picolab/guestagent/load/pcapng"
)

// TestTFTPReads tells read requests from what only looks like them.
func TestTFTPReads(t *testing.T) {
	ip := "\x46\x00\x00\x40\x00\x00\x00\x00\x40\x11\x00\x00\x0a\x4d\x00\x02\x0a\x4d\x00\x01" + "\x01\x01\x01\x01"
	frame := "\x52\x54\x00\x00\x00\x01\x52\x54\x00\x00\x00\x02\x08\x00" + ip + "\x04\xd2\x00\x45\x00\x1f\x12\x34" + "\x00\x01lab.ipxe\x00octet\x00"
	for name, tt := range map[string]struct {
		frame string
		want  int
	}{
		"a read":        {frame + "blksize\x001432\x00", 1},
		"another port":  {strings.Replace(frame, "\x45\x00\x1f", "\x46\x00\x1f", 1), 0},
		"a write":       {strings.Replace(frame, "\x00\x01lab", "\x00\x02lab", 1), 0},
		"another file":  {strings.Replace(frame, "lab", "LAB", 1), 0},
		"no UDP":        {strings.Replace(frame, "\x40\x11", "\x40\x06", 1), 0},
		"no IPv4":       {strings.Replace(frame, "\x08\x00", "\x08\x06", 1), 0},
		"half a header": {frame[:40], 0},
		"nothing":       {"", 0},
	} {
		if got := tftpReads([]pcapng.Packet{{Data: []byte(tt.frame)}}, "lab.ipxe"); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}
