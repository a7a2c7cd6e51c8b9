package netperf

import (
	"strings"
	"testing"
	"time"
)

func TestOptions(t *testing.T) {
	for line, check := range map[string]func(*Options) bool{
		"":                func(o *Options) bool { return o.Config.Length == 10 && o.Config.Test.Name == "TCP_STREAM" && o.Headers },
		"-H fe80::1%lo,6": func(o *Options) bool { return o.Config.Host == "fe80::1%lo" && o.Config.Family == 6 },
		"-Hx -l5 -tudp_rr": func(o *Options) bool {
			return o.Config.Host == "x" && o.Config.Length == 5 && o.Config.Test.Name == "UDP_RR"
		},
		"-p 1,2":                 func(o *Options) bool { return o.Config.Port == 1 && o.Config.LocalPort == 2 },
		"-cC":                    func(o *Options) bool { return o.Config.Local.MeasureCPU && o.Config.Remote.MeasureCPU },
		"-c 12.5 -l 3":           func(o *Options) bool { return o.Config.Local.MeasureCPU && o.Config.Length == 3 },
		"-T 1":                   func(o *Options) bool { return o.Config.Local.CPU == 1 && o.Config.Remote.CPU == 1 },
		"-T ,1":                  func(o *Options) bool { return o.Config.Local.CPU == -1 && o.Config.Remote.CPU == 1 },
		"-T 1,":                  func(o *Options) bool { return o.Config.Local.CPU == 1 && o.Config.Remote.CPU == -1 },
		"-l -1M":                 func(o *Options) bool { return o.Config.Length == -1<<20 },
		"-D -l 3":                func(o *Options) bool { return o.Config.Interim == time.Second && o.Config.Length == 3 },
		"-D 0.5,100":             func(o *Options) bool { return o.Config.Interim == 500*time.Millisecond },
		"-I 99,5":                func(o *Options) bool { return o.Repeat == Repeat{99, 5, 3, 10, false} },
		"-i 15,7 -I 95 -r":       func(o *Options) bool { return o.Repeat == Repeat{95, 10, 7, 15, true} },
		"-i 4":                   func(o *Options) bool { return o.Repeat.Min == 4 && o.Repeat.Max == 4 },
		"-4 -P 0 -v 2 -f M -n 4": func(o *Options) bool { return o.Config.Family == 4 && !o.Headers && o.Verbosity == 2 && o.Unit == 'M' },
		"-- -m 1k":               func(o *Options) bool { return o.Config.Local.SendSize == 1000 && o.Config.Remote.SendSize == 0 },
		"-- -m 1K,2K":            func(o *Options) bool { return o.Config.Local.SendSize == 1024 && o.Config.Remote.SendSize == 2048 },
		"-- -M 10":               func(o *Options) bool { return o.Config.Remote.RecvSize == 10 && o.Config.Local.RecvSize == 0 },
		"-- -s 10 -S 20,30":      func(o *Options) bool { return o.Config.Local.RecvBuffer == 10 && o.Config.Remote.RecvBuffer == 30 },
		"-t TCP_RR -- -r 10,":    func(o *Options) bool { return o.Config.Request == 10 && o.Config.Response == 1 },
		"-t TCP_RR -- -b 5 -D":   func(o *Options) bool { return o.Config.Burst == 5 && o.Config.Local.NoDelay && o.Config.Remote.NoDelay },
		"-- -D ,1 -K bbr,cubic": func(o *Options) bool {
			return !o.Config.Local.NoDelay && o.Config.Remote.NoDelay && o.Config.Remote.Congestion == "cubic"
		},
		"-t UDP_STREAM -- -R 1":   func(o *Options) bool { return o.Config.Routing },
		"-t UDP_STREAM":           func(o *Options) bool { return !o.Config.Routing },
		"-- -k":                   func(o *Options) bool { return o.Style == 'k' && o.Selectors == "" },
		"-- -o -m 5":              func(o *Options) bool { return o.Style == 'o' && o.Config.Local.SendSize == 5 },
		"-- -O P99_LATENCY":       func(o *Options) bool { return o.Config.Latency },
		"--json -t TCP_CRR":       func(o *Options) bool { return o.JSON && o.Config.Latency && o.Config.Test.Connects },
		"-t omni -- -d rr -T udp": func(o *Options) bool { return o.Config.Test.Direction == RR && o.Config.Test.udp() && o.Style == 'O' },
		"-t omni -- -d maerts":    func(o *Options) bool { return o.Config.Test.Direction == Receive },
		"-j -S -s 0.5 -y 1 -Y 16": func(o *Options) bool { return o.Config.Latency && o.Config.Keepalive && o.Config.Local.TOS == 16 },
		"--help":                  func(o *Options) bool { return o.Help },
	} {
		o, err := ParseOptions(strings.Fields(line))
		if err != nil {
			t.Errorf("%s: %v", line, err)
		} else if !check(o) {
			t.Errorf("%s: %+v", line, o)
		}
	}
}

func TestWrongOptions(t *testing.T) {
	for line, want := range map[string]string{
		"-t TCP_SENDFILE":           "TCP_SENDFILE",
		"-F x":                      "-F: not supported",
		"-N":                        "-N: not supported",
		"-w 5":                      "-w: not supported",
		"-- -W 5":                   "-W: not supported",
		"-l":                        "needs a value",
		"-l 0":                      "length",
		"-l x":                      "not a number",
		"-l 9999999999":             "not a number",
		"-p 0":                      "-p",
		"-p 70000":                  "port",
		"-f x":                      "units",
		"-I 90":                     "only 95 and 99",
		"-I 95,-1":                  "percent",
		"-i 40":                     "30",
		"-H x,5":                    "family",
		"-D 0":                      "0.01",
		"host":                      "not expected",
		"-- host":                   "not expected",
		"-- -m -5":                  "size",
		"-- -m 1G":                  "size",
		"-t TCP_RR -- -r 0":         "at least 1",
		"-t UDP_STREAM -- -m 70K":   "datagram",
		"-- -b 3":                   "burst",
		"-t omni -- -d recv -T udp": "receiving UDP",
		"-t omni -- -d x":           "directions",
		"-t omni -- -T sctp":        "protocols",
	} {
		if _, err := ParseOptions(strings.Fields(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
	for _, line := range []string{"-p x", "-p 70000", "--allow 1.2.3", "x", "-Z x", "--clients 0", "-L h,9"} {
		if _, err := ParseServerOptions(strings.Fields(line)); err == nil {
			t.Errorf("netserver %s: no error", line)
		}
	}
}

func TestServerOptions(t *testing.T) {
	o, err := ParseServerOptions(strings.Fields("-D -p 99 -L ::1,6 -allow 10.0.0.1/8,::1 -clients 3 -N"))
	if err != nil {
		t.Fatal(err)
	}
	if o.Port != 99 || o.Address != "::1" || o.Family != 6 || o.Server.MaxClients != 3 || !o.Quiet || len(o.Server.Allow) != 2 || o.Server.Allow[0].String() != "10.0.0.0/8" {
		t.Errorf("%+v", o)
	}
}

func FuzzOptions(f *testing.F) {
	for _, s := range []string{"-H x -l 5 -t TCP_RR -- -r 1,2 -k all", "-cC -D 1 -I 99,5", "-- -O", "-", "--", "-l5k -Hé", "-i ,", "-T ,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		o, err := ParseOptions(strings.Split(line, " "))
		if err == nil && !o.Help && !o.Version && o.Selectors != "?" && o.Config.Check() != nil {
			t.Fatalf("%q: taken, and then %v", line, o.Config.Check())
		}
		_, _ = ParseServerOptions(strings.Split(line, " "))
	})
}
