// Netserver is the far end of netperf's tests.
//
//	netserver [option...]
//
// It serves the clients of this program and netperf 2.6 and 2.7, several at once,
// in the foreground until it gets SIGINT or SIGTERM.
//
//	-p port         to listen on (12865); 0 is any
//	-L addr[,4|6]   address to listen on, all unless given
//	-4, -6          IPv4 or IPv6 only
//	-allow nets     clients that are served: networks (192.0.2.0/24) or
//	                addresses, with commas; all unless given. Data connections
//	                come from the client's own address or from one of these.
//	-clients n      served at once (64); more wait
//	-f              one client at a time
//	-N              say nothing of what goes wrong with clients
//	-D, -v n        taken, without effect
//	-V              version
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
	err := netperf.ServerMain(ctx, netperf.Stdio{Out: os.Stdout, Err: os.Stderr}, os.Args[1:])
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "netserver:", err)
	if errors.Is(err, netperf.ErrUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}
