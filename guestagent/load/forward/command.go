package forward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"picolab/guestagent/load/getopt"
	"picolab/guestagent/load/pktgen"
)

// Manual is what forwarder --help prints.
const Manual = `Usage: forwarder -i port [-o port] [option...]

Sends the frames that come in on a port back out of it, or, with -o, those of
either port out of the other. Ports are those of pkt-gen: eth0, xdp:eth0,
packet:eth0, tap:NAME...

  -m mode    macswap (default): swap the Ethernet addresses; mac: from the port's
             address to that of -D; io: as they are
  -D mac     destination of mode mac (02:00:00:00:00:00)
  -b burst   frames at a time (64)
  -n count   end when so many were sent
  -T ms      between reports (1000)
  --json     one object a line

Frames of the host on an interface are received too. Those that find no room are
dropped and counted. It ends when interrupted, with exit code 0; 1 is an error,
also that of a link that goes down, and 2 a wrong command line.
`

// options are a command line.
type options struct {
	Config
	in, out    string
	json, help bool
}

func parse(args []string) (*options, error) {
	o := &options{Config: Config{Mode: MACSwap, Burst: 64, Interval: time.Second, Destination: [6]byte{2}}}
	rest, err := getopt.Parse(args, []getopt.Option{
		{Name: 'i', Kind: getopt.Required, Set: func(s string) error { o.in = s; return nil }},
		{Name: 'o', Kind: getopt.Required, Set: func(s string) error { o.out = s; return nil }},
		{Name: 'm', Kind: getopt.Required, Set: o.setMode},
		{Name: 'D', Kind: getopt.Required, Set: o.setDestination},
		{Name: 'b', Kind: getopt.Required, Set: number(&o.Burst, 1, 4096)},
		{Name: 'n', Kind: getopt.Required, Set: number(&o.Count, 0, 1<<62)},
		{Name: 'T', Kind: getopt.Required, Set: o.setInterval},
		{Long: "json", Set: func(string) error { o.json = true; return nil }},
		{Name: 'h', Long: "help", Set: func(string) error { o.help = true; return nil }},
	})
	switch {
	case err != nil || o.help:
		return o, err
	case len(rest) > 0:
		return o, fmt.Errorf("%q: not an option", rest[0])
	case o.in == "":
		return o, errors.New("option -i: the port is missing")
	case o.in == o.out:
		return o, errors.New("option -o: the port of -i; leave it out to send back")
	}
	return o, nil
}

func (o *options) setMode(s string) error {
	switch m := Mode(s); m {
	case IO, MAC, MACSwap:
		o.Mode = m
		return nil
	}
	return errors.New("no such mode; there are io, mac, macswap")
}

func (o *options) setDestination(s string) error {
	mac, err := net.ParseMAC(s)
	if err != nil || len(mac) != 6 {
		return errors.New("invalid MAC address")
	}
	copy(o.Destination[:], mac)
	return nil
}

func (o *options) setInterval(s string) error {
	var n int
	if err := number(&n, 1, 1<<31-1)(s); err != nil {
		return err
	}
	o.Interval = time.Duration(n) * time.Millisecond
	return nil
}

func number[T int | uint64](to *T, lowest, highest int64) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < lowest || n > highest {
			return fmt.Errorf("not a number from %d to %d", lowest, highest)
		}
		*to = T(n)
		return nil
	}
}

// Main is the forwarder command.
func Main(ctx context.Context, std pktgen.Stdio, ports pktgen.Ports, args []string) (err error) {
	o, err := parse(args)
	switch {
	case err != nil:
		return fmt.Errorf("%w; %w", err, getopt.ErrUsage)
	case o.help:
		_, err = io.WriteString(std.Out, Manual)
		return err
	}
	use := pktgen.Use{Send: true, Receive: true}
	a, err := ports.Open(ctx, o.in, use)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	var b pktgen.Port
	if o.out != "" {
		if b, err = ports.Open(ctx, o.out, use); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.Close()) }()
	}
	total, err := Run(ctx, o.Config, a, b, func(c Counters) { o.print(std.Err, "interval", c) })
	o.print(std.Out, "summary", total)
	return err
}

func (o *options) print(w io.Writer, kind string, c Counters) {
	if !o.json {
		_, _ = fmt.Fprintf(w, "%s: received %d, sent %d, dropped %d packets\n", kind, c.Received, c.Sent, c.Dropped)
		return
	}
	b, _ := json.Marshal(struct {
		Type string `json:"type"`
		Counters
	}{kind, c})
	_, _ = fmt.Fprintf(w, "%s\n", b)
}
