// Pkt-gen generates, receives and times Ethernet frames, as netmap's pkt-gen does.
//
//	pkt-gen -i port [-f function] [option...]
//
// Its manual is what pkt-gen --help prints.
package main

import (
	"context"
	"os"

	"picolab/guestagent/load/getopt"
	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/load/pktgen/ports"
	"picolab/hostctl/vhostuser/pktgenport"
)

func main() {
	getopt.Main("pkt-gen", func(ctx context.Context, args []string) error {
		return pktgen.Main(ctx, pktgen.Stdio{Out: os.Stdout, Err: os.Stderr}, pktgenport.With(ports.All()), args)
	})
}
