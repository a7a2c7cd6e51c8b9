package l2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"picolab/guestagent/load/getopt"
	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/load/pktgen/tap"
)

// SendManual is what l2send --help prints.
const SendManual = `Usage: l2open -r|-t interface l2send [option...]

Sends UDP frames to descriptor 3.

  -n count    frames (0: until interrupted)
  -l size     bytes of a frame without the CRC (60)
  -d dst[:port]  -s src[:port]  IPv4 addresses (10.1.0.1:1234, 10.0.0.1:1234)
  -D mac      destination (ff:ff:ff:ff:ff:ff)
  -S mac      source (00:00:00:00:00:00)
  -b burst    frames at a time (512)
  -R rate     frames per second
  -T ms       between reports (1000)
  -X          dump every frame
  --json      one object a line
`

// RecvManual is what l2recv --help prints.
const RecvManual = `Usage: l2open -r|-t interface l2recv [option...]

Waits for a first frame on descriptor 3, receives until none came for 2 seconds,
and prints rate and number.

  -n count    end after so many frames
  -T ms       between reports (1000)
  -X          dump every frame
  --json      one object a line
`

// silence ends a receiver.
const silence = 2 * time.Second

// SendMain is the l2send command: the sender of pkt-gen on the descriptor.
func SendMain(ctx context.Context, std pktgen.Stdio, args []string) error {
	return sending().run(ctx, std, args, inherited)
}

// RecvMain is the l2recv command.
func RecvMain(ctx context.Context, std pktgen.Stdio, args []string) error {
	return receiving().run(ctx, std, args, inherited)
}

// Main is l2open with l2send or l2recv as its command, in one: "-r eth0 l2send -n 1000", for programs. --json before it is the
// command's.
func Main(ctx context.Context, std pktgen.Stdio, args []string) error {
	var json []string
	if len(args) > 0 && args[0] == "--json" {
		json, args = args[:1], args[1:]
	}
	o, err := parseOpen(args)
	if err == nil && o.help {
		err = errors.New("only running")
	}
	var p part
	if err == nil {
		p, err = partOf(o.command[0])
	}
	if err != nil {
		return fmt.Errorf("%w; %w", err, getopt.ErrUsage)
	}
	return p.run(ctx, std, append(json, o.command[1:]...), func(_ context.Context, _ string, use pktgen.Use) (pktgen.Port, error) {
		fd, err := o.open()
		if err != nil {
			return nil, err
		}
		return adopt(fd, use)
	})
}

// part is a part of pkt-gen that is a command.
type part struct {
	manual   string
	letters  string // its options
	function pktgen.Function
}

func sending() part   { return part{SendManual, "nldsDSbRTXh", pktgen.Tx} }
func receiving() part { return part{RecvManual, "nTXh", pktgen.Rx} }

func partOf(name string) (part, error) {
	switch name {
	case "l2send":
		return sending(), nil
	case "l2recv":
		return receiving(), nil
	}
	return part{}, fmt.Errorf("%q is not l2send or l2recv", name)
}

// run does what a command line says, on the port that open opens.
func (p part) run(ctx context.Context, std pktgen.Stdio, args []string, open pktgen.Opener) error {
	help, err := allowed(args, p.letters)
	if err == nil && help {
		_, err = io.WriteString(std.Out, p.manual)
		return err
	}
	var o *pktgen.Options
	if err == nil {
		o, err = pktgen.ParseOptions(append([]string{"-i", "l2:3", "-f", string(p.function), "-w", "0"}, args...))
	}
	if err != nil {
		return fmt.Errorf("%w; %w", err, getopt.ErrUsage)
	}
	o.UntilSilence, o.Silence = true, silence
	return o.Run(ctx, std, pktgen.Ports{"l2": open})
}

// allowed refuses options that are not among the letters, and finds -h.
func allowed(args []string, letters string) (help bool, err error) {
	options := []getopt.Option{{Long: "json", Set: func(string) error { return nil }}}
	for _, c := range letters {
		o := getopt.Option{Name: c, Set: func(string) error { return nil }}
		switch c {
		case 'X':
		case 'h':
			o.Long, o.Set = "help", func(string) error { help = true; return nil }
		default:
			o.Kind = getopt.Required
		}
		options = append(options, o)
	}
	_, err = getopt.Parse(args, options)
	return help, err
}

// inherited opens the port on the descriptor that l2open left.
func inherited(_ context.Context, _ string, use pktgen.Use) (pktgen.Port, error) {
	var s unix.Stat_t
	if err := unix.Fstat(Descriptor, &s); err != nil || (s.Mode&unix.S_IFMT != unix.S_IFSOCK && s.Mode&unix.S_IFMT != unix.S_IFCHR) {
		return nil, errors.New("descriptor 3 is no socket or tap device: start this by l2open")
	}
	return adopt(Descriptor, use)
}

func adopt(fd int, use pktgen.Use) (pktgen.Port, error) {
	p, err := tap.Adopt(fd, use.Size)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return p, nil
}
