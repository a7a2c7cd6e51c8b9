// Forwarder sends the frames of a port back, or on by another.
//
//	forwarder -i port [-o port] [option...]
//
// Its manual is what forwarder --help prints.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"picolab/guestagent/load/forward"
	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/load/pktgen/ports"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := forward.Main(ctx, pktgen.Stdio{Out: os.Stdout, Err: os.Stderr}, ports.All(), os.Args[1:])
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "forwarder:", err)
	if errors.Is(err, forward.ErrUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}
