// Netperf measures a network together with a netserver on another machine: see `netperf --help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"picolab/guestagent/load/netperf"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := netperf.Main(ctx, netperf.Stdio{Out: os.Stdout, Err: os.Stderr}, os.Args[1:])
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "netperf:", err)
	if errors.Is(err, netperf.ErrUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}
