package pktgen

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"strings"
	"time"

	"picolab/guestagent/load/getopt"
)

// Options are a command line of pkt-gen.
type Options struct {
	Config
	Port string // -i

	source, destination string // -s, -d
	sourceMAC           string // -S; the port's when empty
	file                string // -P
	timed, once         bool
	wait                time.Duration // -w; negative is the default of the port
	dump, plain         bool          // -X, -N
	deviation           bool          // -A
	json, help          bool
}

// Bits of -o that mean something here.
const (
	optNothing   = 1 | 2 | 4 | 8 // ways to touch and to copy buffers: there is one
	optDump      = 64
	optRubbish   = 256
	optRandomSrc = 512
	optRandomDst = 1024
	optDeviation = 2048
	optChecksum  = 4096 // of frames of random sizes: always
)

// ParseOptions reads a command line.
func ParseOptions(args []string) (*Options, error) {
	o := &Options{wait: -1}
	o.Config = Config{Function: Rx, Threads: 1, CPU: -1, CPUs: 1, Interval: time.Second}
	destination := "ff:ff:ff:ff:ff:ff"
	sizes := 0
	options := append(o.flags(), []getopt.Option{
		valued('D', text(&destination)),
		valued('l', func(s string) error { sizes++; return o.setSize(s, sizes) }),
	}...)
	rest, err := getopt.Parse(args, options)
	switch {
	case err != nil:
		return nil, err
	case o.help:
		return o, nil
	case len(rest) > 0:
		return nil, fmt.Errorf("%q: not an option", rest[0])
	}
	return o, o.finish(destination)
}

// flags are the options but -D and -l.
func (o *Options) flags() []getopt.Option {
	return []getopt.Option{
		valued('i', text(&o.Port)), valued('f', o.setFunction),
		valued('n', count(&o.Count)), valued('t', o.setDirection(Tx)),
		valued('b', number(&o.Burst, 1, maxBurst)), valued('R', number(&o.Rate, 0, 1<<31-1)),
		valued('d', text(&o.destination)), valued('s', text(&o.source)), valued('S', text(&o.sourceMAC)),
		flag('z', &o.RandomSource), flag('Z', &o.RandomDestination),
		valued('a', number(&o.CPU, 0, 1<<16)), valued('c', o.setCPUs), valued('p', number(&o.Threads, 1, maxThreads)),
		valued('T', milliseconds(&o.Interval)), valued('w', seconds(&o.wait)),
		flag('W', &o.UntilSilence), flag('X', &o.dump), flag('r', &o.Rubbish), flag('N', &o.plain), flag('A', &o.deviation),
		valued('P', text(&o.file)), long("timed", &o.timed), long("once", &o.once),
		{Name: '4', Set: o.family(false)}, {Name: '6', Set: o.family(true)},
		{Name: 'B', Set: func(string) error { o.Framing = 24 * 8; return nil }}, // CRC, preamble and gap
		{Name: 'v', Set: func(string) error { return nil }},
		valued('o', o.setBits), valued('C', func(string) error { return nil }),
		valued('H', onlyNetmap("a virtio-net header")), valued('F', onlyNetmap("several slots for a frame")),
		valued('M', onlyNetmap("several slots for a frame")), {Name: 'I', Set: onlyNetmap("indirect buffers")},
		long("json", &o.json), long("help", &o.help), flag('h', &o.help),
	}
}

// valued, flag and long make options.
func valued(name rune, set func(string) error) getopt.Option {
	return getopt.Option{Name: name, Kind: getopt.Required, Set: set}
}

func flag(name rune, to *bool) getopt.Option { return getopt.Option{Name: name, Set: raise(to)} }

func long(name string, to *bool) getopt.Option { return getopt.Option{Long: name, Set: raise(to)} }

func raise(to *bool) func(string) error {
	return func(string) error { *to = true; return nil }
}

// maxBurst bounds the memory of a batch.
const maxBurst = 1 << 16

func text(to *string) func(string) error {
	return func(s string) error { *to = s; return nil }
}

func number(to *int, lowest, highest int) func(string) error {
	return func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < lowest || n > highest {
			return fmt.Errorf("not a number from %d to %d", lowest, highest)
		}
		*to = n
		return nil
	}
}

func count(to *uint64) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseInt(s, 10, 63)
		if err != nil || n < 0 {
			return errors.New("not a count")
		}
		*to = uint64(n)
		return nil
	}
}

func milliseconds(to *time.Duration) func(string) error { return duration(to, time.Millisecond, 1) }
func seconds(to *time.Duration) func(string) error      { return duration(to, time.Second, 0) }

func duration(to *time.Duration, unit time.Duration, lowest int) func(string) error {
	return func(s string) error {
		var n int
		if err := number(&n, lowest, 1<<31-1)(s); err != nil {
			return err
		}
		*to = time.Duration(n) * unit
		return nil
	}
}

func onlyNetmap(what string) func(string) error {
	return func(string) error { return fmt.Errorf("%s: not supported, only netmap's slots have that", what) }
}

func (o *Options) family(v6 bool) func(string) error {
	return func(string) error { o.Headers.V6 = v6; return nil }
}

func (o *Options) setFunction(s string) error {
	switch f := Function(s); f {
	case Rx, Tx, Ping, Pong, TxSeq, RxSeq:
		o.Function = f
		return nil
	}
	return errors.New("unrecognised function; there are rx, tx, ping, pong, txseq, rxseq")
}

// setDirection is for -t of older versions: a count that tells the function too.
func (o *Options) setDirection(f Function) func(string) error {
	return func(s string) error {
		o.Function = f
		return count(&o.Count)(s)
	}
}

// setSize takes LEN, and the second time, or behind a comma, the lower bound of random lengths. The bounds may come in
// either order behind a comma; as separate options they have the order of the original.
func (o *Options) setSize(s string, times int) error {
	a, b, two := strings.Cut(s, ",")
	to := &o.Size
	if times > 1 {
		to = &o.MinSize
	}
	if err := number(to, 1, MaxFrame)(a); err != nil || !two {
		return err
	}
	if err := number(&o.MinSize, 1, MaxFrame)(b); err != nil {
		return err
	}
	o.Size, o.MinSize = max(o.Size, o.MinSize), min(o.Size, o.MinSize)
	return nil
}

func (o *Options) setCPUs(s string) error {
	if err := number(&o.CPUs, 0, 1<<30)(s); err != nil {
		return err
	}
	if o.CPUs > runtime.NumCPU() {
		return fmt.Errorf("%d cpus is too high, have only %d cpus", o.CPUs, runtime.NumCPU())
	}
	if o.CPUs == 0 {
		o.CPUs = runtime.NumCPU()
	}
	return nil
}

func (o *Options) setBits(s string) error {
	n, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		return errors.New("not a number")
	}
	known := uint64(optNothing | optDump | optRubbish | optRandomSrc | optRandomDst | optDeviation | optChecksum)
	if n&^known != 0 {
		return fmt.Errorf("bits %d: not supported", n&^known)
	}
	o.dump = o.dump || n&optDump != 0
	o.Rubbish = o.Rubbish || n&optRubbish != 0
	o.RandomSource = o.RandomSource || n&optRandomSrc != 0
	o.RandomDestination = o.RandomDestination || n&optRandomDst != 0
	o.deviation = o.deviation || n&optDeviation != 0
	return nil
}

// finish reads what depends on several options.
func (o *Options) finish(destinationMAC string) error {
	if o.Port == "" {
		return errors.New("option -i: the port is missing")
	}
	if o.source == "" {
		o.source = map[bool]string{false: "10.0.0.1", true: "fd00::1"}[o.Headers.V6]
	}
	if o.destination == "" {
		o.destination = map[bool]string{false: "10.1.0.1", true: "fd01::1"}[o.Headers.V6]
	}
	if o.Size == 0 {
		o.Size = max(DefaultFrame, headersLen(o.Headers.V6)+stampLen)
	}
	var err error
	if o.Headers.Source, err = parseRange(o.source, o.Headers.V6); err != nil {
		return fmt.Errorf("option -s %s: %w", o.source, err)
	}
	if o.Headers.Destination, err = parseRange(o.destination, o.Headers.V6); err != nil {
		return fmt.Errorf("option -d %s: %w", o.destination, err)
	}
	if o.Headers.DestinationMAC, err = parseMAC(destinationMAC); err != nil {
		return fmt.Errorf("option -D %s: %w", destinationMAC, err)
	}
	if o.sourceMAC != "" {
		if o.Headers.SourceMAC, err = parseMAC(o.sourceMAC); err != nil {
			return fmt.Errorf("option -S %s: %w", o.sourceMAC, err)
		}
	}
	if (o.timed || o.once) && o.file == "" {
		return errors.New("options --timed and --once go with -P")
	}
	return o.Check()
}

// parseMAC reads an address as ether_aton(3) does: digits may be left out.
func parseMAC(s string) (mac [6]byte, err error) {
	parts := strings.Split(s, ":")
	if len(parts) != 6 {
		return mac, errors.New("invalid MAC address")
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 16, 8)
		if err != nil {
			return mac, errors.New("invalid MAC address")
		}
		mac[i] = byte(n)
	}
	return mac, nil
}

func formatMAC(m [6]byte) string { return net.HardwareAddr(m[:]).String() }
