package linuxpktgen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"picolab/guestagent/load/getopt"
)

// Manual is what linux-pktgen --help prints.
const Manual = `Usage: linux-pktgen -i interface [option...] [queues-1]

Sends UDP packets by the kernel's generator (module pktgen), a kernel thread for
each queue of the interface, and prints the rate of each queue and in all.

  -i interface  to send on
  -t queues     threads and queues (1); also as the last word, then less one:
                "linux-pktgen -i eth0 2" uses 3 queues
  -f cpu        of the first queue (0); the others have the next ones
  -n count      packets of each queue (10000000; 0: until interrupted)
  -s size       bytes of a frame without the CRC (60)
  -d address    destination, IPv4 or IPv6 (10.1.0.1)
  -S address    source (the interface's)
  -m mac        destination (ff:ff:ff:ff:ff:ff)
  -M mac        source (the interface's)
  -p port       UDP, of both ends (9)
  -c count      sends of a packet before the next is made (0; devices that keep
                packets, like veth, take no other)
  -b burst      packets handed to the driver at a time (1)
  -R rate       packets per second of a queue
  -w ns         delay between packets of a queue (0)
  -T ms         between reports (1000)
  --json        one object a line

The interface is removed from the generator at the end, also when interrupted,
which is no error. The exit code is 1 when the module or something else is
missing, and 2 when the command line is wrong.
`

// command is a command line.
type command struct {
	Config
	json, help bool
}

func parse(args []string) (*command, error) {
	o := &command{Config: Config{
		Queues: 1, Count: 10e6, Size: 60, Destination: "10.1.0.1", MAC: "ff:ff:ff:ff:ff:ff", Port: 9, Interval: time.Second,
	}}
	rest, err := getopt.Parse(args, o.flags())
	switch {
	case err != nil || o.help:
		return o, err
	case o.Interface == "":
		return o, errors.New("option -i: the interface is missing")
	case len(rest) > 1:
		return o, fmt.Errorf("%q: not an option", rest[1])
	case len(rest) == 1:
		if err := number(&o.Queues, 0, maxQueues-1)(rest[0]); err != nil {
			return o, fmt.Errorf("queues %s: %w", rest[0], err)
		}
		o.Queues++
	}
	return o, nil
}

const maxQueues = 1024

func (o *command) flags() []getopt.Option {
	required := func(name rune, set func(string) error) getopt.Option {
		return getopt.Option{Name: name, Kind: getopt.Required, Set: set}
	}
	return []getopt.Option{
		required('i', text(&o.Interface)), required('t', number(&o.Queues, 1, maxQueues)), required('f', number(&o.FirstCPU, 0, 1<<16)),
		required('n', number(&o.Count, 0, 1<<62)), required('s', number(&o.Size, 42, 65535)),
		required('d', text(&o.Destination)), required('S', text(&o.Source)), required('m', text(&o.MAC)), required('M', text(&o.SourceMAC)),
		required('p', number(&o.Port, 0, 65535)), required('c', number(&o.Clone, 0, 1<<30)), required('b', number(&o.Burst, 1, 1<<16)),
		required('R', number(&o.Rate, 0, 1<<40)), required('w', duration(&o.Delay, time.Nanosecond)),
		required('T', duration(&o.Interval, time.Millisecond)),
		{Long: "json", Set: func(string) error { o.json = true; return nil }},
		{Name: 'h', Long: "help", Set: func(string) error { o.help = true; return nil }},
	}
}

// text refuses blanks and line ends, which would be other commands to the kernel.
func text(to *string) func(string) error {
	return func(s string) error {
		for _, r := range s {
			if r <= ' ' || r > '~' || r == '/' {
				return errors.New("holds a character that no name or address has")
			}
		}
		if s == "" {
			return errors.New("is empty")
		}
		*to = s
		return nil
	}
}

func number[T int | uint64 | uint16](to *T, lowest, highest int64) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < lowest || n > highest {
			return fmt.Errorf("not a number from %d to %d", lowest, highest)
		}
		*to = T(n)
		return nil
	}
}

func duration(to *time.Duration, unit time.Duration) func(string) error {
	return func(s string) error {
		var n int
		err := number(&n, 0, 1<<31-1)(s)
		*to = time.Duration(n) * unit
		return err
	}
}

// Main is the linux-pktgen command; dir is Dir but in tests. The end of ctx ends it early.
func Main(ctx context.Context, out io.Writer, dir string, args []string) (err error) {
	o, err := parse(args)
	switch {
	case err != nil:
		return fmt.Errorf("%w; %w", err, getopt.ErrUsage)
	case o.help:
		_, err = io.WriteString(out, Manual)
		return err
	}
	o.Dir = dir
	g, err := New(o.Config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	queues, err := g.Run(ctx, func(q []Queue) { o.progress(out, q) })
	if err != nil {
		return err
	}
	return o.print(out, append(queues, Total(queues)))
}

// soFar is the name of the sum of all queues before the end.
const soFar = "so far"

func (o *command) progress(out io.Writer, queues []Queue) {
	t := Total(queues)
	if o.json {
		t.Name = soFar
		_ = json.NewEncoder(out).Encode(t)
		return
	}
	_, _ = fmt.Fprintf(out, "%d packets, %d errors so far\n", t.Packets, t.Errors)
}

func (o *command) print(out io.Writer, queues []Queue) error {
	for _, q := range queues {
		var err error
		if o.json {
			err = json.NewEncoder(out).Encode(q)
		} else {
			_, err = fmt.Fprintf(out, "%s: %d packets in %.6f s, %d pps, %d bps, %d errors\n", q.Name, q.Packets,
				q.Elapsed.Seconds(), q.PPS, q.BPS, q.Errors)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
