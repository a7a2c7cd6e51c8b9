package netperf

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"picolab/guestagent/load/getopt"
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
	o := newOptions()
	o.command = args
	rest, err := getopt.Parse(args, o.global())
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 && rest[0] == "--" {
		if rest, err = getopt.Parse(rest[1:], o.test()); err != nil {
			return nil, fmt.Errorf("test %s: %w", o.Config.Test.Name, err)
		}
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("argument %q: not expected", rest[0])
	}
	return o, o.check()
}

func newOptions() *Options {
	t, _ := TestNamed("TCP_STREAM")
	return &Options{Config: *NewConfig("localhost", t), Headers: true, Verbosity: 1}
}

func (o *Options) check() error {
	o.Config.Latency = o.Config.Latency || o.JSON || strings.Contains(o.Selectors, "LATENCY") || o.Selectors == "all"
	if o.Help || o.Version || o.Selectors == "?" {
		return nil
	}
	return cmp.Or(o.Config.Check(), o.Repeat.check())
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

func (o *Options) setStyle(style rune) func(selectors string) error {
	return func(selectors string) error {
		o.Style, o.Selectors = style, selectors
		return nil
	}
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
