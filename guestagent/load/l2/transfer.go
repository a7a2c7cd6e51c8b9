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
`

// RecvManual is what l2recv --help prints.
const RecvManual = `Usage: l2open -r|-t interface l2recv [option...]

Waits for a first frame on descriptor 3, receives until none came for 2 seconds,
and prints rate and number.

  -n count    end after so many frames
  -T ms       between reports (1000)
  -X          dump every frame
`

// silence ends a receiver.
const silence = 2 * time.Second

// SendMain is the l2send command: the sender of pkt-gen on the descriptor.
func SendMain(ctx context.Context, std pktgen.Stdio, args []string) error {
	return run(ctx, std, SendManual, "nldsDSbRTXh", pktgen.Tx, args)
}

// RecvMain is the l2recv command.
func RecvMain(ctx context.Context, std pktgen.Stdio, args []string) error {
	return run(ctx, std, RecvManual, "nTXh", pktgen.Rx, args)
}

// run does what a command line says, of pkt-gen's options those named.
func run(ctx context.Context, std pktgen.Stdio, manual, letters string, f pktgen.Function, args []string) error {
	help, err := allowed(args, letters)
	if err == nil && help {
		_, err = io.WriteString(std.Out, manual)
		return err
	}
	var o *pktgen.Options
	if err == nil {
		o, err = pktgen.ParseOptions(append([]string{"-i", "l2:3", "-f", string(f), "-w", "0"}, args...))
	}
	if err != nil {
		return fmt.Errorf("%w; %w", err, ErrUsage)
	}
	o.UntilSilence, o.Silence = true, silence
	return o.Run(ctx, std, pktgen.Ports{"l2": inherited})
}

// allowed refuses options that are not among the letters, and finds -h.
func allowed(args []string, letters string) (help bool, err error) {
	var options []getopt.Option
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
	return tap.Adopt(Descriptor, use.Size)
}
