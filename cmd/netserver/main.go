// Netserver is the far end of netperf's tests: see `netserver --help`.
package main

import (
	"context"
	"os"

	"picolab/guestagent/load/getopt"
	"picolab/guestagent/load/netperf"
)

func main() {
	getopt.Main("netserver", func(ctx context.Context, args []string) error {
		return netperf.ServerMain(ctx, netperf.Stdio{Out: os.Stdout, Err: os.Stderr}, args)
	})
}
