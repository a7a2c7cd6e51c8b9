package capture

import (
	"testing"

	"picolab/guestagent/load/pcapng"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tagged is an ARP request of 10.0.0.1 in VLAN 10.
var tagged = []byte{
	255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 0x81, 0, 0, 10, 8, 6,
	0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2,
}

func TestFilterOfTaggedFrame(t *testing.T) {
	for expr, want := range map[string]bool{
		"vlan": true, "vlan 10": true, "vlan 11": false, "arp": true, "vlan 10 and arp": true, "ip": false, "host 10.0.0.1": true,
		"src host 10.0.0.2": false, "dst host 10.0.0.2": true, "ether broadcast": true, "ether src 02:00:00:00:00:01": true,
		"ether dst host 02:00:00:00:00:01": false, "inbound": true, "outbound": false, "not not arp": true, "! ip && ARP": true,
		"greater 47": false, "less 46": true,
	} {
		f, err := Parse(expr)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := f(&Frame{Data: tagged, Length: len(tagged), Direction: pcapng.Inbound}); got != want {
			t.Errorf("%q: %v", expr, got)
		}
	}
}

// FuzzFilter runs arbitrary filters on arbitrary frames.
func FuzzFilter(f *testing.F) {
	f.Add("udp and port 69 and not host 10.0.0.1", tagged)
	f.Add("vlan 10 and arp", tagged)
	f.Add("tcp src port 1", append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0x4f}, make([]byte, 60)...))
	f.Fuzz(func(t *testing.T, expr string, frame []byte) {
		if filter, err := Parse(expr); err == nil {
			filter(&Frame{Data: frame, Length: len(frame)})
		}
	})
}
