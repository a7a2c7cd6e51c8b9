package getopt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// ErrUsage is what is wrong with a command line: the command's manual tells more.
var ErrUsage = errors.New("see --help")

// Main runs a command with its arguments until it ends, or SIGINT or SIGTERM ends its context. A failure is written to
// the standard error with the command's name, and ends the process: with 2 when it is [ErrUsage], else with 1.
func Main(name string, run func(ctx context.Context, args []string) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, name+":", err)
	if errors.Is(err, ErrUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}
