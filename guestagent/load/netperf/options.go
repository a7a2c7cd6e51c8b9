package netperf

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Options are a command line of netperf.
type Options struct {
	Config    Config
	Repeat    Repeat
	Headers   bool   // -P
	Verbosity int    // -v
	Unit      byte   // -f: one of G M K g m k, 0 the test's own
	Brand     string // -B
	JSON      bool
	Help      bool
	Version   bool
	Style     rune // -o, -O or -k of the test; 0 is the classic output
	Selectors string
	CPUs      int // -n: taken, not needed

	command []string
}

// ParseOptions reads netperf's arguments: global options, "--", and those of the test. What is not supported is an
// error that names it.
func ParseOptions(args []string) (*Options, error) {
	t, _ := TestNamed("TCP_STREAM")
	o := &Options{Config: *NewConfig("localhost", t), Headers: true, Verbosity: 1, command: args}
	args = o.long(args)
	rest, err := getopt(args, o.global())
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 && rest[0] == "--" {
		if rest, err = getopt(rest[1:], o.test()); err != nil {
			return nil, fmt.Errorf("test %s: %w", o.Config.Test.Name, err)
		}
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("argument %q: not expected", rest[0])
	}
	return o, o.check()
}

// long takes the long options out; the original has none.
func (o *Options) long(args []string) (rest []string) {
	for i, a := range args {
		switch a {
		case "--json":
			o.JSON = true
		case "--help":
			o.Help = true
		case "--":
			return append(rest, args[i:]...)
		default:
			rest = append(rest, a)
		}
	}
	return rest
}

func (o *Options) check() error {
	o.Config.Latency = o.Config.Latency || o.JSON || strings.Contains(o.Selectors, "LATENCY") || o.Selectors == "all"
	if o.Help || o.Version || o.Selectors == "?" {
		return nil
	}
	return cmp.Or(o.Config.Check(), o.Repeat.check())
}

// global are the options before "--".
func (o *Options) global() []option {
	c := &o.Config
	return []option{
		{'H', required, func(v string) error { return o.setHost(&c.Host, v) }},
		{'L', required, func(v string) error { return o.setHost(&c.Source, v) }},
		{'p', required, func(v string) error {
			port, local := two(v)
			return cmp.Or(setInt(&c.Port, port, 1), setInt(&c.LocalPort, local, 0))
		}},
		{'t', required, o.setTest},
		{'l', required, func(v string) error { return o.setLength(v) }},
		{'f', required, o.setUnit},
		{'P', required, func(v string) error { o.Headers = v != "0"; return nil }},
		{'c', numeric, func(string) error { c.Local.MeasureCPU = true; return nil }},
		{'C', numeric, func(string) error { c.Remote.MeasureCPU = true; return nil }},
		{'D', numeric, o.setInterim},
		{'i', required, o.setIterations},
		{'I', required, o.setConfidence},
		{'r', none, func(string) error { o.Repeat.ResultOnly = true; return nil }},
		{'n', required, func(v string) error { return setInt(&o.CPUs, v, 1) }},
		{'T', required, both(func(to *int, s string) error { return setInt(to, s, 0) }, &c.Local.CPU, &c.Remote.CPU)},
		{'4', none, func(string) error { c.Family = familyV4; return nil }},
		{'6', none, func(string) error { c.Family = familyV6; return nil }},
		{'v', required, func(v string) error { return setInt(&o.Verbosity, v, 0) }},
		{'j', none, func(string) error { c.Latency = true; return nil }},
		{'s', required, o.setWait},
		{'S', none, func(string) error { c.Keepalive = true; return nil }},
		{'y', required, both(func(to *int, s string) error { return setInt(to, s, 0) }, &c.Local.Priority, &c.Remote.Priority)},
		{'Y', required, both(func(to *int, s string) error { return setInt(to, s, 0) }, &c.Local.TOS, &c.Remote.TOS)},
		{'B', required, func(v string) error { o.Brand = v; return nil }},
		{'V', none, func(string) error { o.Version = true; return nil }},
		{'h', none, func(string) error { o.Help = true; return nil }},
	}
}

// test are the options after "--".
func (o *Options) test() []option {
	c := &o.Config
	size := func(a, b *int) func(string) error { return both(setSize, a, b) }
	one := func(a, b *int) func(string) error {
		return func(v string) error {
			first, second := two(v)
			return cmp.Or(setSize(a, first), setSize(b, second))
		}
	}
	return []option{
		{'m', required, one(&c.Local.SendSize, &c.Remote.SendSize)},
		{'M', required, one(&c.Remote.RecvSize, &c.Local.RecvSize)},
		{'r', required, size(&c.Request, &c.Response)},
		{'s', required, size(&c.Local.SendBuffer, &c.Local.RecvBuffer)},
		{'S', required, size(&c.Remote.SendBuffer, &c.Remote.RecvBuffer)},
		{'D', numeric, o.setNoDelay},
		{'b', required, func(v string) error { return setInt(&c.Burst, v, 0) }},
		{'K', required, func(v string) error { o.setCongestion(v); return nil }},
		{'P', required, both(func(to *int, s string) error { return setInt(to, s, 0) }, &c.Local.Port, &c.Remote.Port)},
		{'R', required, func(v string) error { c.Routing = v != "0"; return nil }},
		{'o', optional, func(v string) error { return o.setStyle('o', v) }},
		{'O', optional, func(v string) error { return o.setStyle('O', v) }},
		{'k', optional, func(v string) error { return o.setStyle('k', v) }},
		{'d', required, o.setDirection},
		{'T', required, o.setProtocol},
		{'c', none, func(string) error { c.Test.Connects = true; return nil }},
		{'4', none, func(string) error { c.DataFamily = familyV4; return nil }},
		{'6', none, func(string) error { c.DataFamily = familyV6; return nil }},
		{'n', none, func(string) error { return nil }}, // the local UDP socket is always connected
		{'h', none, func(string) error { o.Help = true; return nil }},
	}
}

// setHost takes "name", "name,4", "name,inet6" or ",6".
func (o *Options) setHost(to *string, v string) error {
	name, family := two(v)
	if name != "" {
		*to = name
	}
	switch strings.ToLower(family) {
	case "":
	case "4", "inet", "af_inet":
		o.Config.Family = familyV4
	case "6", "inet6", "af_inet6":
		o.Config.Family = familyV6
	default:
		return fmt.Errorf("address family %q: 4 or 6", family)
	}
	return nil
}

func (o *Options) setTest(name string) error {
	t, err := TestNamed(name)
	if err != nil {
		return err
	}
	o.Config.Test, o.Config.Routing = t, NewConfig("", t).Routing
	if t.Name == "OMNI" && o.Style == 0 {
		o.Style = 'O'
	}
	return nil
}

func (o *Options) setLength(v string) error {
	if v == "" {
		return errors.New("needs a number")
	}
	n, err := parseSize(v)
	if err != nil {
		return err
	}
	o.Config.Length = n
	return nil
}

func (o *Options) setUnit(v string) error {
	if len(v) != 1 || !strings.Contains("GMKgmk", v) {
		return errors.New("units are G, M, K, g, m and k")
	}
	o.Unit = v[0]
	return nil
}

// setInterim takes seconds, 1 when there are none, and drops the guess of units that the original needs.
func (o *Options) setInterim(v string) error {
	v, _ = two(v)
	d, err := seconds(cmp.Or(v, "1"))
	if err == nil && d < 10*time.Millisecond {
		err = errors.New("at least 0.01 s")
	}
	o.Config.Interim = d
	return err
}

func (o *Options) setWait(v string) (err error) {
	o.Config.Wait, err = seconds(v)
	return err
}

func seconds(v string) (time.Duration, error) {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || !(f >= 0 && f <= maxLength) {
		return 0, fmt.Errorf("%q is not a number of seconds", v)
	}
	return time.Duration(f * 1e9), nil
}

// setIterations takes "max,min"; as in the original they are put in order.
func (o *Options) setIterations(v string) error {
	r := &o.Repeat
	if err := both(func(to *int, s string) error { return setInt(to, s, 1) }, &r.Max, &r.Min)(v); err != nil {
		return err
	}
	r.Min, r.Max = min(r.Min, r.Max), max(r.Min, r.Max)
	if r.Level == 0 {
		r.Level, r.Width = 99, 5
	}
	return nil
}

func (o *Options) setConfidence(v string) error {
	r := &o.Repeat
	level, width := two(v)
	r.Level, r.Width = 99, 10
	if r.Max == 0 {
		r.Min, r.Max = 3, 10
	}
	if err := setInt(&r.Level, level, 1); err != nil || width == "" {
		return err
	}
	f, err := strconv.ParseFloat(width, 64)
	if err != nil || !(f > 0 && f < 1000) {
		return fmt.Errorf("%q is not a number of percent", width)
	}
	r.Width = f
	return nil
}

// setNoDelay takes nothing for both sides, or "1", "1,", ",1".
func (o *Options) setNoDelay(v string) error {
	local, remote := pair(cmp.Or(v, "1"))
	o.Config.Local.NoDelay = local != "" && local != "0"
	o.Config.Remote.NoDelay = remote != "" && remote != "0"
	return nil
}

// setCongestion takes "local,remote"; one alone is for both.
func (o *Options) setCongestion(v string) {
	o.Config.Local.Congestion, o.Config.Remote.Congestion = pair(v)
}

func (o *Options) setStyle(style rune, selectors string) error {
	o.Style, o.Selectors = style, selectors
	return nil
}

// setDirection takes a name or the original's bits.
func (o *Options) setDirection(v string) error {
	switch strings.ToLower(v) {
	case "send", "xmit", "stream", "2", "0x2":
		o.Config.Test.Direction, o.Config.Test.Title = Send, "OMNI Send TEST"
	case "recv", "receive", "maerts", "4", "0x4":
		o.Config.Test.Direction, o.Config.Test.Title = Receive, "OMNI Receive TEST"
	case "rr", "6", "0x6":
		o.Config.Test.Direction, o.Config.Test.Title = RR, "OMNI Send|Recv TEST"
	default:
		return errors.New("directions are send, recv and rr")
	}
	return nil
}

func (o *Options) setProtocol(v string) error {
	name := map[string]string{"tcp": "TCP_STREAM", "udp": "UDP_STREAM"}[strings.ToLower(v)]
	t, err := TestNamed(name)
	if err != nil {
		return errors.New("protocols are tcp and udp")
	}
	o.Config.Test.Protocol = t.Protocol
	return nil
}
