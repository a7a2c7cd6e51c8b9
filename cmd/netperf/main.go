// Netperf measures a network together with a netserver on another machine: see `netperf --help`.
package main

import (
	"context"
	"os"

	"picolab/guestagent/load/getopt"
	"picolab/guestagent/load/netperf"
)

func main() {
	getopt.Main("netperf", func(ctx context.Context, args []string) error {
		return netperf.Main(ctx, netperf.Stdio{Out: os.Stdout, Err: os.Stderr}, args)
	})
}
