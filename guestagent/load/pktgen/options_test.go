package pktgen

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

func TestOptions(t *testing.T) {
	for _, tc := range []struct {
		line string
		ok   func(o *Options) bool
	}{
		{"-i eth0", func(o *Options) bool {
			return o.Function == Rx && o.Size == 60 && o.Threads == 1 && o.burst() == 512 && o.Interval == time.Second && o.CPU == -1
		}},
		{"-ieth0 -ftx -l1460", func(o *Options) bool { return o.Port == "eth0" && o.Function == Tx && o.Size == 1460 }},
		{"-ivale0:99 -frx", func(o *Options) bool { return o.Port == "vale0:99" }},
		{"-ieth0 -ftx -d10.0.0.200:7777 -D2:a:b:c:d:e", func(o *Options) bool {
			return o.Headers.Destination.FirstPort == 7777 && o.Headers.DestinationMAC == [6]byte{2, 10, 11, 12, 13, 14}
		}},
		{"-i eth0 -f ping", func(o *Options) bool { return o.burst() == 1 }},
		{"-i eth0 -t 5", func(o *Options) bool { return o.Function == Tx && o.Count == 5 }},
		{"-i eth0 -l 1514 -l 60", func(o *Options) bool { return o.Size == 1514 && o.MinSize == 60 }},
		{"-i eth0 -l 60,1514", func(o *Options) bool { return o.Size == 1514 && o.MinSize == 60 }},
		{"-i eth0 -zZrXNA -B -W", func(o *Options) bool {
			return o.RandomSource && o.RandomDestination && o.Rubbish && o.dump && o.plain && o.deviation && o.Framing == 192 && o.UntilSilence
		}},
		{"-i eth0 -o 3904", func(o *Options) bool {
			return o.dump && o.Rubbish && o.RandomSource && o.RandomDestination && o.deviation
		}},
		{"-i eth0 -6", func(o *Options) bool { return o.Headers.V6 && o.Headers.Source.First.String() == "fd00::1" }},
		{"-i eth0 -6 -4", func(o *Options) bool { return !o.Headers.V6 }},
		{"-i eth0 -R 1000 -b 7 -p 3 -a 1 -T 50 -w 9 -n 12", func(o *Options) bool {
			return o.Rate == 1000 && o.Burst == 7 && o.Threads == 3 && o.CPU == 1 && o.Interval == 50*time.Millisecond &&
				o.wait == 9*time.Second && o.Count == 12
		}},
		{"-i eth0 -c 0", func(o *Options) bool { return o.CPUs > 0 }},
		{"-i eth0 -P x.pcap --timed --once --json", func(o *Options) bool { return o.file == "x.pcap" && o.timed && o.once && o.json }},
		{"--help", func(o *Options) bool { return o.help }},
	} {
		o, err := ParseOptions(strings.Fields(tc.line))
		if err != nil || !tc.ok(o) {
			t.Errorf("%s: %+v, %v", tc.line, o, err)
		}
	}
}

func TestOptionsRefused(t *testing.T) {
	for line, want := range map[string]string{
		"":                             "port is missing",
		"-i eth0 -q":                   "-q: not supported",
		"-i eth0 -F 2":                 "-F 2: several slots",
		"-i eth0 -I":                   "indirect",
		"-i eth0 -H 12":                "virtio-net header",
		"-i eth0 -o 32":                "bits 32",
		"-i eth0 -f sing":              "unrecognised function",
		"-i eth0 -l 15":                "bad pktsize 15 [16..65536]",
		"-i eth0 -l 65537":             "-l",
		"-i eth0 -l 100 -l 101":        "bad pktminsize",
		"-i eth0 -p 0":                 "-p 0",
		"-i eth0 -p 2 -f ping":         "can only ping with 1 thread",
		"-i eth0 -f ping -l 50":        "at least 54",
		"-i eth0 -n -1":                "not a count",
		"-i eth0 -c 100000":            "too high",
		"-i eth0 -D 1:2:3":             "invalid MAC",
		"-i eth0 -S 1:2:3:4:5:600":     "invalid MAC",
		"-i eth0 -d 10.0.0.300":        "-d 10.0.0.300",
		"-i eth0 -6 -s 10.0.0.1":       "not an IPv6",
		"-i eth0 --once":               "go with -P",
		"-i eth0 extra":                "extra",
		"-i":                           "needs a value",
		"-i eth0 -b 0":                 "-b 0",
		"-i eth0 --nosuch":             "not supported",
		"-i eth0 -T 0":                 "-T 0",
		"-i eth0 -s 10.0.0.1:1-::1":    "port",
		"-i eth0 -R 99999999999999999": "-R",
	} {
		if _, err := ParseOptions(strings.Fields(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
}

// TestManualNamesEveryOption keeps the manual and the table together.
func TestManualNamesEveryOption(t *testing.T) {
	for _, o := range new(Options).flags() {
		name := "--" + o.Long
		if o.Name != 0 {
			name = "-" + string(o.Name)
		}
		if !strings.Contains(Manual, name+" ") && !strings.Contains(Manual, name+",") && !strings.Contains(Manual, name+"\n") {
			t.Errorf("the manual does not name %s", name)
		}
	}
	for _, line := range strings.Split(Manual, "\n") {
		if len(line) > 80 {
			t.Errorf("a line of %d columns: %s", len(line), line)
		}
	}
}

func TestPortNames(t *testing.T) {
	none := func(context.Context, string, Use) (Port, error) { return nil, net.ErrClosed }
	ports := Ports{"": none, "xdp": none, "tap": none}
	for name, want := range map[string]string{
		"eth0": "|eth0", "xdp:eth0": "xdp|eth0", "vale0:1": "vale|vale0:1", "eth0:1": "|eth0:1", "memif:/run/x:y": "memif|/run/x:y",
		"br-1a": "|br-1a", "xdp:": "xdp|", "tap0": "tap|tap0",
	} {
		scheme, rest := ports.split(name)
		if got := scheme + "|" + rest; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	_, err := ports.Open(t.Context(), "nosuch:x", Use{})
	if err == nil || !strings.Contains(err.Error(), "tap:, xdp:") {
		t.Errorf("an unknown kind: %v", err)
	}
}

func FuzzOptions(f *testing.F) {
	for _, s := range []string{"-i eth0 -ftx", "-ieth0 -d 10.0.0.1:1-10.0.0.2:2 -l 60,70", "-6 -s 3@[::1]:2-3@[::9]:4 -i x", "-zZXo 4096 -P x --once"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		o, err := ParseOptions(strings.Fields(line))
		if err != nil || o.help {
			return
		}
		if err := o.Check(); err != nil {
			t.Fatalf("%q was taken, and then: %v", line, err)
		}
		if o.Size > 2000 || o.Function == Ping {
			return
		}
		buf := make([]byte, o.Size)
		g := newGenerator(&o.Config, 0)
		for range 3 {
			if n := g.next(buf); n < MinFrame || n > o.Size {
				t.Fatalf("%q: a frame of %d bytes", line, n)
			}
		}
	})
}
