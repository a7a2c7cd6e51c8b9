package forward

import (
	"bytes"
	"strings"
	"testing"
)

func TestModes(t *testing.T) {
	frame := []byte("destinsourcepayload")
	p := &path{c: &Config{Mode: MAC, Destination: [6]byte([]byte("target"))}, source: [6]byte([]byte("myself"))}
	for mode, want := range map[Mode]string{IO: "destinsourcepayload", MACSwap: "sourcedestinpayload", MAC: "targetmyselfpayload"} {
		p.c.Mode = mode
		f := bytes.Clone(frame)
		if p.change(f); string(f) != want {
			t.Errorf("%s: %s", mode, f)
		}
	}
	p.change([]byte("short"))
}

func FuzzParse(f *testing.F) {
	f.Add("-i eth0 -o eth1 -m mac -D 02:00:00:00:00:01 -b 5 -n 7 --json")
	f.Fuzz(func(t *testing.T, line string) {
		if o, err := parse(strings.Fields(line)); err == nil && !o.help && (o.Burst < 1 || o.Interval <= 0 || o.in == "") {
			t.Errorf("%q: %+v", line, o)
		}
	})
}
