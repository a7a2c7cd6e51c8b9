package switchboard

import (
	"reflect"
	"testing"

	"picolab/hostctl/vale"
	"picolab/hostctl/vhostuser/vnet"
)

// ip4 is a frame of UDP or another protocol, from a source port.
func ip4(protocol byte, port byte, fragment byte, vlan bool) []byte {
	b := make([]byte, 12, 64)
	if vlan {
		b = append(b, 0x81, 0, 0, 5)
	}
	b = append(b, 8, 0, 0x45, 0, 0, 48, 0, 1, fragment, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, port, 0, 80)
	return append(b, make([]byte, 16)...)
}

func ip6(port byte) []byte {
	b := make([]byte, 14+44)
	b[12], b[13], b[14], b[20], b[14+39] = 0x86, 0xdd, 0x60, 17, 9
	b[14+41] = port
	return b
}

// TestFlow: packets of one flow have one hash, whatever else differs; fragments count by address alone; ports matter.
func TestFlow(t *testing.T) {
	same := func(a, b []byte) bool { return flow(a) == flow(b) }
	if !same(ip4(17, 1, 0, false), ip4(17, 1, 0, true)) || same(ip4(17, 1, 0, false), ip4(17, 2, 0, false)) {
		t.Error("IPv4")
	}
	if !same(ip4(17, 1, 0x20, false), ip4(17, 2, 0x20, false)) || !same(ip4(1, 1, 0, false), ip4(1, 2, 0, false)) {
		t.Error("fragments or ICMP have ports")
	}
	if same(ip6(1), ip6(2)) || !same(ip6(1), ip6(1)) {
		t.Error("IPv6")
	}
	for n := range 60 { // cut anywhere
		_, _ = flow(ip4(17, 1, 0, true)[:min(n, 46)]), flow(ip6(1)[:min(n, 58)])
	}
}

// TestSpread: flows that differ in one byte, wherever it is, are spread over the queues.
func TestSpread(t *testing.T) {
	for name, tt := range map[string]struct {
		frame func() []byte
		at    int // of the byte
	}{
		"port": {func() []byte { return ip4(6, 1, 0, false) }, 35}, "source": {func() []byte { return ip4(6, 1, 0, false) }, 29},
		"destination": {func() []byte { return ip4(6, 1, 0, false) }, 33}, "destination 6": {func() []byte { return ip6(1) }, 53},
		"network 6": {func() []byte { return ip6(1) }, 14 + 24 + 3}, "source 6": {func() []byte { return ip6(1) }, 37},
	} {
		spread := map[uint32]int{}
		for i := range 256 {
			b := tt.frame()
			b[tt.at] = byte(i)
			spread[flow(b)%4]++
		}
		for q := range uint32(4) {
			if spread[q] < 32 {
				t.Errorf("256 flows by %s on 4 queues: %v", name, spread)
			}
		}
	}
}

// TestLayout is asVnet's promise, by name and type of each field.
func TestLayout(t *testing.T) {
	var walk func(a, b reflect.Type)
	walk = func(a, b reflect.Type) {
		if a.Kind() != b.Kind() || a.Size() != b.Size() || (a.Kind() == reflect.Struct && a.NumField() != b.NumField()) {
			t.Fatalf("%v and %v differ", a, b)
		}
		for i := 0; a.Kind() == reflect.Struct && i < a.NumField(); i++ {
			if a.Field(i).Name != b.Field(i).Name || a.Field(i).Offset != b.Field(i).Offset {
				t.Errorf("%v: field %d differs", a, i)
			}
			walk(a.Field(i).Type, b.Field(i).Type)
		}
	}
	walk(reflect.TypeFor[vale.Frame](), reflect.TypeFor[vnet.Frame]())
}
