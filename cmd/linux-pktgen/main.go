// Linux-pktgen sends packets by the kernel's own generator.
//
//	linux-pktgen -i interface [option...] [queues-1]
//
// Its manual is what linux-pktgen --help prints.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"picolab/guestagent/load/linuxpktgen"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := linuxpktgen.Main(ctx, os.Stdout, linuxpktgen.Dir, os.Args[1:])
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "linux-pktgen:", err)
	if errors.Is(err, linuxpktgen.ErrUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}
