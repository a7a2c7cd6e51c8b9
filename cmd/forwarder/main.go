// Forwarder sends the frames of a port back, or on by another.
//
//	forwarder -i port [-o port] [option...]
//
// Its manual is what forwarder --help prints.
package main

import (
	"context"
	"os"

	"picolab/guestagent/load/forward"
	"picolab/guestagent/load/getopt"
	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/load/pktgen/ports"
	"picolab/hostctl/vhostuser/pktgenport"
)

func main() {
	getopt.Main("forwarder", func(ctx context.Context, args []string) error {
		return forward.Main(ctx, pktgen.Stdio{Out: os.Stdout, Err: os.Stderr}, pktgenport.With(ports.All()), args)
	})
}
