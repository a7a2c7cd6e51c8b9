// Guestagent serves an endpoint of a lab.
//
//	guestagent          as PID 1: a guest's init; serves vsock port 1024
//	guestagent -fd N    serves the one connection that file descriptor N is, then exits
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"picolab/guestagent/boot"
	"picolab/guestagent/hostside"
	"picolab/guestagent/load/pktgen/ports"
	"picolab/hostctl/vhostuser/pktgenport"

	"golang.org/x/sys/unix"
)

func main() {
	started := time.Now()
	all := pktgenport.With(ports.All())
	if os.Getpid() == 1 {
		boot.Main(context.Background(), started, all)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := hostside.Main(ctx, os.Args[1:], all); err != nil {
		fmt.Fprintln(os.Stderr, "guestagent:", err)
		os.Exit(1)
	}
}
