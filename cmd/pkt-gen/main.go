// Pkt-gen generates, receives and times Ethernet frames, as netmap's pkt-gen does.
//
//	pkt-gen -i port [-f function] [option...]
//
// Its manual is what pkt-gen --help prints.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/load/pktgen/ports"
	"picolab/hostctl/vhostuser/pktgenport"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	all := ports.All()
	all[pktgenport.Scheme] = pktgenport.Open
	err := pktgen.Main(ctx, pktgen.Stdio{Out: os.Stdout, Err: os.Stderr}, all, os.Args[1:])
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "pkt-gen:", err)
	if errors.Is(err, pktgen.ErrUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}
