// Linux-pktgen sends packets by the kernel's own generator.
//
//	linux-pktgen -i interface [option...] [queues-1]
//
// Its manual is what linux-pktgen --help prints.
package main

import (
	"context"
	"os"

	"picolab/guestagent/load/getopt"
	"picolab/guestagent/load/linuxpktgen"
)

func main() {
	getopt.Main("linux-pktgen", func(ctx context.Context, args []string) error {
		return linuxpktgen.Main(ctx, os.Stdout, linuxpktgen.Dir, args)
	})
}
